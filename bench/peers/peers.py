"""Finds, installs and compiles the peers. Each peer program prints the lines of the cases that it can be compared in.

Compiled here and not by Meson: they are no part of the project, may be installed after the build was configured, and Ray's
needs flags of its own.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ["libtbb-dev", "libcaf-dev", "libopenmpi-dev", "openmpi-bin"]
WHEELS = ["ray[client]", "ray-cpp"]
TIMEOUT_S = {"tbb": 30, "caf": 60, "mpi": 60, "ray": 300, "ray_on_spark": 400}
# Those that take long, and are run only if one of these is wanted.
ONLY_FOR = {"ray_on_spark": {"spark_up_5"}}


class Peers:
    def __init__(self, build_dir):
        self.dir = pathlib.Path(build_dir) / "peers"
        self.ray_venv = self.dir / "ray-venv"
        self.commands = {}  # name: (arguments, environment)

    def install(self):
        missing = [name for name in PACKAGES if subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status}", name], capture_output=True, text=True).stdout != "installed"]
        if missing:
            command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
            if os.geteuid() != 0:
                command = ["sudo", *command]
            print("rayx: " + " ".join(command), flush=True)
            if subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode != 0:
                print("rayx: apt could not install them (try 'apt-get update'); the bench goes on without", file=sys.stderr)
        if not self.ray_folder():
            print(f"rayx: installing {' and '.join(WHEELS)} into {self.ray_venv} (about 130 MB)", flush=True)
            try:
                venv.create(self.ray_venv, with_pip=True)
                subprocess.run([self.ray_venv / "bin/pip", "install", "-q", *WHEELS], check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"rayx: the wheels could not be installed ({error}); the bench goes on without Ray", file=sys.stderr)

    def ray_folder(self):
        return next(iter(self.ray_venv.glob("lib/python3*/site-packages/ray/cpp")), None)

    def compile(self):
        """Whatever of them is installed and not yet compiled. What cannot be compiled is named and left out."""
        self.dir.mkdir(parents=True, exist_ok=True)
        cxx = os.environ.get("CXX", "g++")
        common = ["-std=c++17", "-O2", "-DNDEBUG"]
        if pathlib.Path("/usr/include/oneapi/tbb.h").exists():
            self._compile("tbb", [[cxx, *common, HERE / "tbb.cc", "-ltbb", "-pthread"]])
        if pathlib.Path("/usr/include/caf/all.hpp").exists():
            self._compile("caf", [[cxx, *common, HERE / "caf.cc", "-lcaf_core", "-pthread"]])
        if shutil.which("mpicxx") and shutil.which("mpirun"):
            command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", self.dir / "mpi"]
            if os.geteuid() == 0:
                command.insert(1, "--allow-run-as-root")
            self._compile("mpi", [["mpicxx", *common, HERE / "mpi.cc"]], command)
        ray = self.ray_folder()
        if ray:
            flags = [*common, "-w", "-D_GLIBCXX_USE_CXX11_ABI=0", "-isystem", ray / "include"]
            link = [HERE / "ray.cc", f"-L{ray}/lib", f"-Wl,-rpath,{ray}/lib", "-lray_api", "-pthread"]
            twin = self.dir / "ray-code"
            twin.mkdir(exist_ok=True)
            self._compile("ray", [[cxx, *flags, *link], [cxx, *flags, "-shared", "-fPIC", *link]],
                          [self.dir / "ray", twin], [self.dir / "ray", twin / "libray_bench.so"],
                          {"PATH": f"{self.ray_venv}/bin:{os.environ['PATH']}", "RAY_USAGE_STATS_ENABLED": "0"})
            command = [self.ray_venv / "bin/python", HERE / "ray_on_spark.py"]
            self.commands["ray_on_spark"] = ([str(part) for part in command], dict(os.environ))
        return self

    def _compile(self, name, commands, run=None, outputs=None, environment=None):
        outputs = outputs or [self.dir / name]
        newest = max(path.stat().st_mtime for path in (HERE / f"{name}.cc", HERE.parent / "kit.hpp"))
        for command, output in zip(commands, outputs):
            if output.exists() and output.stat().st_mtime > newest:
                continue
            result = subprocess.run([*map(str, command), "-o", str(output)], capture_output=True, text=True)
            if result.returncode != 0:
                print(f"rayx: the peer {name} could not be compiled and is left out:\n{result.stderr[-2000:]}", file=sys.stderr)
                return
        self.commands[name] = ([str(part) for part in run or outputs], {**os.environ, **(environment or {})})

    def run(self, name):
        """The text that the program printed; raises what subprocess raises. Nothing of it is left running."""
        command, environment = self.commands[name]
        child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            out, err = child.communicate(timeout=TIMEOUT_S[name])
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            raise RuntimeError(f"no answer within {TIMEOUT_S[name]} s") from None
        finally:
            if name.startswith("ray"):
                self._stop_ray()
        if child.returncode != 0:
            raise RuntimeError((err.strip() or out.strip() or "no output").splitlines()[-1])
        return out

    def _stop_ray(self):
        """Ray's daemons outlive a program that failed. Only those that were started from our own wheel are ended."""
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if str(self.ray_venv) in (entry / "cmdline").read_text():
                    os.kill(int(entry.name), signal.SIGKILL)
            except (OSError, UnicodeDecodeError):
                continue
