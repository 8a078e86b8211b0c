"""`python -m bitnet_ffi ...` is `bitnet ...`."""

from bitnet_ffi.cli import main

if __name__ == "__main__":
    main()
