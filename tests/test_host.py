"""How the host computes while a study runs: memory that is used again, and programs compiled with less effort."""

import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prh_jax import host


def faults(rounds=20, size=1 << 26):
    """Pages that the kernel had to clear for blocks of 64 MiB that come and go."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        np.empty(size, np.uint8)[:: resource.getpagesize()] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(host._glibc() is None, reason="the C library is not glibc")
def test_freed_blocks_are_used_again_and_given_back_at_the_end():
    outside, before = faults(), resident()
    with host.kept_memory():
        faults(1)
        inside, held = faults(), resident()
    assert held - before > 1 << 25  # what was freed last is still held
    assert inside < outside / 5
    assert resident() - before < 1 << 25
    assert faults() > outside / 2


def test_nothing_is_set_without_glibc(monkeypatch):
    monkeypatch.setattr(host, "_glibc", lambda: None)
    with host.kept_memory():
        pass


class Lowered:
    """A program whose compiler knows no option, or fails."""

    def __init__(self, message):
        self.message, self.asked = message, []

    def compile(self, compiler_options=None):
        self.asked.append(compiler_options)
        if compiler_options:
            raise jax.errors.JaxRuntimeError(self.message)
        return "compiled"


def test_a_compiler_without_the_option_compiles_as_usual():
    lowered = Lowered("INVALID_ARGUMENT: No such compile option: 'xla_cpu_use_fusion_emitters'")
    assert host.compile_quickly(lowered) == "compiled" and lowered.asked[-1] is None and len(lowered.asked) == 2
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        host.compile_quickly(Lowered("out of memory"))


def test_what_is_compiled_quickly_computes_the_same():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(50, 30)), jnp.float32)
    lowered = jax.jit(lambda z: jnp.tanh(z @ z.T).sum(axis=0)).lower(x)
    np.testing.assert_allclose(host.compile_quickly(lowered)(x), lowered.compile()(x), rtol=2e-6)
