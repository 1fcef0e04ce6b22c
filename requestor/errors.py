"""Defines the requestor's errors. Every message is a whole sentence for the user: what is wrong, and what to do.

RequestorError            anything below; the command line prints it and exits with `exit_code`
├── ConfigurationError    a bad option, file or environment variable
├── RunFolderError        a run folder of another run, or one that is broken
├── GolemError            the daemon, the wallet, the market
│   ├── DaemonUnreachable
│   ├── DaemonRefused     with the HTTP status
│   ├── AppKeyMissing
│   └── WalletEmpty
├── TransferError         gftp
├── DevnetError           the local Golem could not start, stop or be found
├── ImageError            a provider image that is broken, or could not be built, verified or pushed
├── ImageMismatch         providers run another version of this program
├── TrainingFailed        the run ended without a model
└── RunStopped            Ctrl-C; the same command continues the run
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
