"""A halftone-server of one's own."""
import re
import subprocess
import time
from contextlib import contextmanager


@contextmanager
def serving(program, models, work):
    """The address of a server on a free port, with the models of a folder and its data in
    WORK/data, for a while."""
    log = work / "log"
    with open(log, "w") as file:
        server = subprocess.Popen([program, "--data", work / "data", "--models", models,
                                   "--listen", "127.0.0.1:0"], stderr=file)
    try:
        while not (ready := re.search(r" ready address=(\S+)", log.read_text())):
            if server.poll() is not None:
                raise RuntimeError("the server did not start:\n" + log.read_text())
            time.sleep(.01)
        yield f"http://{ready[1]}"
    finally:
        server.terminate()
        server.wait()
