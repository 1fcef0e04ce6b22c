"""Defines the requestor's errors. Every message is a whole sentence for the user: what is wrong, and what to do.

RequestorError            any of the errors below; the command line prints it and exits with `exit_code`
├── ConfigurationError    an option, file or environment variable is wrong
├── RunFolderError        a run folder belongs to another run, or is damaged
├── GolemError            the daemon, the wallet or the market does not do its part
│   ├── DaemonUnreachable no daemon answers
│   ├── DaemonRefused     the daemon answers with an HTTP error
│   ├── AppKeyMissing     there is no app key, or the daemon does not know it
│   └── WalletEmpty       the wallet cannot pay
├── TransferError         a file transfer by gftp failed
├── DevnetError           the local Golem could not start, stop or be found
├── ImageError            a provider image is broken, or could not be built, verified or pushed
├── ImageMismatch         providers run another version of this program
├── TrainingFailed        the run ended without a model
└── RunStopped            the user stopped the run; the same command continues it
"""


class RequestorError(Exception):
    """The base of all errors that the command line turns into one message and an exit code."""

    exit_code = 1


class ConfigurationError(RequestorError):
    exit_code = 2


class RunFolderError(RequestorError):
    pass


class GolemError(RequestorError):
    pass


class DaemonUnreachable(GolemError):
    pass


class DaemonRefused(GolemError):
    """The daemon answered a request with an HTTP error.

    Attributes:
        status: the HTTP status, 400 or above.
        answer: the body of the answer.
    """

    def __init__(self, message: str, status: int, answer: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer


class AppKeyMissing(GolemError):
    pass


class WalletEmpty(GolemError):
    pass


class TransferError(RequestorError):
    pass


class DevnetError(RequestorError):
    pass


class ImageError(RequestorError):
    pass


class ImageMismatch(RequestorError):
    pass


class TrainingFailed(RequestorError):
    pass


class RunStopped(RequestorError):
    exit_code = 130
