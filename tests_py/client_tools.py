"""What .ci/clients has brought of other people's programs: in the folder that BITNET_FFI_CLIENTS names, or nowhere."""
import os
from pathlib import Path

import pytest


def fetched(*parts) -> Path:
    """A path in that folder; the test is skipped where it is not there."""
    folder = os.environ.get("BITNET_FFI_CLIENTS")
    path = Path(folder, *parts) if folder else None
    if path is None or not path.exists():
        pytest.skip(f"no {'/'.join(parts)}: .ci/clients DIR, and BITNET_FFI_CLIENTS=DIR")
    return path
