#!/usr/bin/env python3
"""Makes the example models that are too big to commit: minilm, resnet50, mlp.

Safe to run again: what is there and made by the same script is left alone. Needs what requirements.txt names; minilm
fetches 84 MB with pip, everything else is generated.
"""

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
GENERATED = {
    "mlp": "0.6 MB, for benchmarks",
    "minilm": "91 MB, sentence embeddings",
    "resnet50": "102 MB, for benchmarks",
}
NEEDED = ["numpy", "onnx"]


def stamp(name: str) -> str:
    """What a model is made from: its script, and the pinned packages."""
    sources = [HERE / f"make_{name}.py", HERE / "requirements.txt", HERE / "requirements-weights.txt"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def is_current(name: str, out: Path) -> bool:
    recorded = out / name / ".made-by"
    return (out / name / "1" / "model.onnx").exists() and recorded.exists() and recorded.read_text() == stamp(name)


def make(name: str, out: Path) -> None:
    started = time.monotonic()
    print(f"{name}: making it ({GENERATED[name]}) …", flush=True)
    result = subprocess.run([sys.executable, HERE / f"make_{name}.py", "--out", out])
    if result.returncode != 0:
        sys.exit(f"{name}: make_{name}.py failed; run it by hand to see more")
    (out / name / ".made-by").write_text(stamp(name))
    print(f"{name}: done in {time.monotonic() - started:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=HERE, help="the model repository to write to (default: this folder)"
    )
    parser.add_argument("--only", action="append", choices=sorted(GENERATED), metavar="NAME", help="make this one only")
    parser.add_argument("--force", action="store_true", help="make them again even if they are there")
    arguments = parser.parse_args()
    wanted = [name for name in GENERATED if not arguments.only or name in arguments.only]
    stale = [name for name in wanted if arguments.force or not is_current(name, arguments.out)]
    for name in wanted:
        if name not in stale:
            print(f"{name}: there already")
    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if stale and missing:
        sys.exit(f"missing Python packages: {', '.join(missing)}. Install: pip install -r {HERE / 'requirements.txt'}")
    for name in stale:
        make(name, arguments.out.resolve())


if __name__ == "__main__":
    main()
