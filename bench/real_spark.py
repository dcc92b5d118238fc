"""A real Spark cluster on this machine, for as long as a `with` block lasts; `settings` says where it is."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tools" / "spark.sh"


class RealSpark:
    def __init__(self, name, workers, *options):
        self.name, self.options = name, ["--workers", str(workers), *options]
        self.settings = {}

    def __enter__(self):
        self.__exit__()  # what a run that was killed has left
        subprocess.run([SCRIPT, "start", "--name", self.name, *self.options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       check=True)
        lines = (ROOT / "build" / "spark" / f"{self.name}.env").read_text(encoding="utf-8").splitlines()
        self.settings = dict(line.split("=", 1) for line in lines)
        return self

    def __exit__(self, *_):
        subprocess.run([SCRIPT, "stop", "--name", self.name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
