"""How the host computes while a study runs: memory that is used again, and programs compiled with less effort."""

import json
import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prh_jax.runtime import host

PROGRAM = """
import json, resource
import numpy as np
from prh_jax.runtime import host

def faults(rounds):  # pages that the kernel had to clear for blocks of 64 MiB that come and go
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        np.empty(1 << 26, np.uint8)[:: resource.getpagesize()] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

found = {"accepted": host._glibc() is not None and host._glibc().mallopt(host.MMAP, host.LARGEST)}
host._glibc() and host._set_thresholds(host._glibc(), host.USUAL)
found |= {"outside": faults(20), "before": resident()}
with host.kept_memory():
    faults(1)
    found |= {"inside": faults(20), "held": resident()}
print(json.dumps(found | {"after": resident()}))
"""


def run(**settings):
    """What the program finds in a process of its own, whose memory no test has used."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_PRE"))}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=kept | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if not found["accepted"] or found["outside"] < 20 * 32 // 2:  # of pages of 2 MiB there are fewest
        pytest.skip("an older glibc, another C library, or a kernel that counts no faults")
    return found


def test_freed_blocks_are_used_again_and_given_back_at_the_end():
    found = run()
    assert found["held"] - found["before"] > 1 << 25  # what was freed last is still held
    assert found["inside"] < found["outside"] / 5
    assert found["after"] - found["before"] < 1 << 25


@pytest.mark.parametrize(
    "setting", [{"MALLOC_TRIM_THRESHOLD_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=65536"}]
)
def test_what_the_user_has_set_stays(setting):
    found = run(**setting)
    assert found["inside"] > found["outside"] / 2


class Library:
    """A C library that writes down what is set, and refuses large thresholds if so asked."""

    def __init__(self, most=1 << 40):
        self.most, self.calls = most, []

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))
        return int(value <= self.most)

    def malloc_trim(self, _):
        self.calls.append("trim")


@pytest.fixture
def library(monkeypatch):
    library = Library()
    monkeypatch.setattr(host, "_glibc", lambda: library)
    monkeypatch.setattr(host, "_set_by_user", lambda: False)
    return library


def test_studies_at_once_share_what_is_kept(library):
    inside, done = threading.Event(), threading.Event()

    def study():
        with host.kept_memory():
            inside.set()
            done.wait(60)

    other = threading.Thread(target=study)
    other.start()
    assert inside.wait(60)
    with host.kept_memory():
        pass
    assert "trim" not in library.calls and library.calls == [(host.MMAP, 1 << 28), (host.TRIM, 1 << 29)]
    done.set()
    other.join()
    assert library.calls[2:] == [(host.MMAP, 1 << 25), (host.TRIM, 1 << 26), "trim"]


def test_no_more_is_kept_than_a_budget_allows(library):
    with host.kept_memory(1 << 30):
        assert library.calls[0] == (host.MMAP, 1 << 27)
    with host.kept_memory(1 << 20):
        assert library.calls[-2] == (host.MMAP, 1 << 25)


def test_an_older_glibc_keeps_what_it_can(library):
    library.most = 1 << 25
    with host.kept_memory():
        assert library.calls == [(host.MMAP, 1 << 28), (host.MMAP, 1 << 25), (host.TRIM, 1 << 26)]


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
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_cpu_of_tomorrow") as unknown:
        jax.jit(jnp.sin).lower(1.0).compile(compiler_options={"xla_cpu_of_tomorrow": False})
    lowered = Lowered(str(unknown.value).replace("of_tomorrow", "use_fusion_emitters"))
    assert host.compile_quickly(lowered, "cpu") == "compiled" and lowered.asked[-1] is None and len(lowered.asked) == 2
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        host.compile_quickly(Lowered("out of memory"), "cpu")
    assert host.compile_quickly(Lowered("no option of a GPU"), "gpu") == "compiled"


@pytest.mark.as_shipped
def test_what_is_compiled_quickly_computes_the_same():
    device = jax.local_devices()[0]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(50, 30)), jnp.float32)
    lowered = jax.jit(lambda z: jnp.tanh(z @ z.T).sum(axis=0)).lower(x)
    np.testing.assert_allclose(
        host.compile_quickly(lowered, device.platform)(x), lowered.compile()(x), rtol=2e-6, atol=1e-5
    )


HOLDING = """
import jax, json
import numpy as np
import prh_jax
from prh_jax.runtime import host

x = np.random.default_rng(0).standard_normal((32, 4), dtype=np.float32)

def threads():
    return {found.filepath: found.num_threads for found in host._blas().lib_controllers}

found = [threads()]
jax.jit(prh_jax.unbiased_cka)(x, x)
found.append(threads())
with host.quiet_blas():
    jax.jit(prh_jax.normalized_bures)(x, x)
    found.append(threads())
found.append(threads())
print(json.dumps(found))
"""


@pytest.mark.parametrize("chosen", [None, "2"])
def test_a_decomposition_in_a_program_of_the_users_has_one_thread(chosen):
    """Of scipy's library, which JAX calls; numpy's keeps its threads, and a number that the user chose stays."""
    kept = {name: value for name, value in os.environ.items() if name not in host.CHOSEN_BY_USER}
    settings = {} if chosen is None else {"OPENBLAS_NUM_THREADS": chosen}
    done = subprocess.run([sys.executable, "-c", HOLDING], env=kept | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, undecomposed, inside, after = json.loads(done.stdout)
    if len(before) < 2 or max(before.values()) < 2:
        pytest.skip("numpy and scipy share a BLAS, or this machine has one core")
    scipys = {path for path in before if "scipy.libs" in path}
    assert len(scipys) == 1
    assert undecomposed == before
    assert set(inside.values()) == {1}
    assert after == {path: 1 if path in scipys and chosen is None else count for path, count in before.items()}
