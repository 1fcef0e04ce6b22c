import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "yapapi", "numpy", "pandas", "aiohttp")


def nima_golem(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "requestor.commands.main", *arguments]
    return subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom requestor.commands.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "command",
    [
        *("train", "runs", "offers", "score", "explain", "export", "serve"),
        *("evaluate", "ava", "models", "image", "devnet", "doctor"),
    ],
)
def test_every_command_explains_itself_without_torch(command: str, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom requestor.commands.main import main\n"
        f"try:\n    main(['{command}', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'yapapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"{command} [OPTIONS]" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("budget", "complaint"),
    [("much", "not an amount of GLM"), ("2EUR", "is in EUR"), ("0GLM", "not above zero")],
)
def test_a_budget_that_is_none_is_one_clear_error(budget: str, complaint: str, tmp_path: Path) -> None:
    done = nima_golem("train", "--ava", ".", "--budget", budget, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
