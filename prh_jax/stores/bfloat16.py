"""Teaches Zarr the 2-byte float of neural networks: a data type named "bfloat16", registered on import."""

from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np
from zarr.core.dtype.npy.float import BaseFloat
from zarr.dtype import data_type_registry

try:
    from zarr.errors import DataTypeValidationError  # type: ignore[attr-defined]
except ImportError:  # Zarr before 3.2
    from zarr.dtype import DataTypeValidationError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True, kw_only=True)
class BFloat16(BaseFloat):
    """The upper half of a float32 (8 exponent bits, 7 mantissa bits); Zarr v3 name "bfloat16", as in tensorstore."""

    dtype_cls = type(BFLOAT16)
    _zarr_v3_name = "bfloat16"
    _zarr_v2_names: ClassVar[tuple[str, ...]] = ()

    @property
    def item_size(self) -> int:
        """Bytes of a number."""
        return 2

    @classmethod
    def _check_native_dtype(cls, dtype) -> bool:
        return dtype == BFLOAT16

    @classmethod
    def from_native_dtype(cls, dtype):
        """Make it from numpy's dtype."""
        if not cls._check_native_dtype(dtype):
            raise DataTypeValidationError(f"Invalid data type: {dtype}. Expected bfloat16.")
        return cls(endianness="little")

    def to_native_dtype(self):
        # numpy has no byte order for this extension type; Zarr's bytes codec writes little-endian by default
        """Return numpy's dtype."""
        return BFLOAT16


if "bfloat16" not in data_type_registry.contents:
    data_type_registry.register("bfloat16", BFloat16)
