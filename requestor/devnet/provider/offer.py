"""Makes the offer of a devnet's provider: the properties and constraints of a Golem VM provider.

The capabilities `vpn`, `inet` and `manifest-support` are left out on purpose, because nothing here routes packets. So a
demand that asks for them finds no provider, instead of one that cannot provide them.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requestor.devnet.provider.negotiation import Terms
from requestor.devnet.provider.pricing import COUNTERS, LinearPricing
from requestor.golem import property_names


@dataclass(frozen=True)
class Hardware:
    """Describes the resources of the host that are on offer, by the rules of the provider agent.

    These are: one thread less than the host has, 70% of its memory, and 80% of its free disk space; both in GiB.
    """

    cores: int
    threads: int
    memory_gib: float
    storage_gib: float
    vendor: str = "unknown"
    brand: str = "unknown"
    model: str = "unknown"
    capabilities: tuple[str, ...] = ()

    @classmethod
    def of_host(cls, folder: Path) -> Hardware:
        """Measures this machine; the free space is that of the partition that holds `folder`."""
        cpu = _cpu_info()
        threads = os.cpu_count() or 1
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            cores=int(cpu.get("cpu cores", threads)),
            threads=max(1, threads - 1),
            memory_gib=max(0.1, 0.7 * memory / 2**30),
            storage_gib=max(0.1, 0.8 * shutil.disk_usage(folder).free / 2**30),
            vendor=cpu.get("vendor_id", "unknown"),
            brand=cpu.get("model name", "unknown"),
            model=f"Stepping {cpu.get('stepping', 0)} Family {cpu.get('cpu family', 0)} Model {cpu.get('model', 0)}",
            capabilities=tuple(sorted(cpu.get("flags", "").split())),
        )


def properties(
    *,
    name: str,
    subnet: str,
    platform_name: str,
    address: str,
    pricing: LinearPricing,
    terms: Terms,
    hardware: Hardware,
) -> dict[str, Any]:
    """Returns the flat properties of an offer. `platform_name` is a payment platform such as `erc20-hoodi-tglm`."""
    return {
        property_names.NODE_NAME: name,
        property_names.SUBNET: subnet,
        "golem.node.net.is-public": False,
        "golem.inf.cpu.architecture": platform.machine(),
        "golem.inf.cpu.cores": hardware.cores,
        property_names.THREADS: hardware.threads,
        "golem.inf.cpu.vendor": hardware.vendor,
        "golem.inf.cpu.brand": hardware.brand,
        "golem.inf.cpu.model": hardware.model,
        "golem.inf.cpu.capabilities": list(hardware.capabilities),
        property_names.MEMORY: hardware.memory_gib,
        "golem.inf.storage.gib": hardware.storage_gib,
        property_names.RUNTIME: "vm",
        "golem.runtime.version": "0.5.2",
        "golem.runtime.capabilities": [],
        property_names.MULTI_ACTIVITY: True,
        "golem.srv.caps.payload-manifest": False,
        "golem.activity.caps.transfer.protocol": ["gftp", "http", "https"],
        "golem.activity.caps.transfer.report-progress": True,
        "golem.activity.caps.deploy.report-progress": True,
        "golem.com.scheme": "payu",
        property_names.PRICING_MODEL: "linear",
        property_names.PRICES: [float(value) for value in pricing.coefficients],
        property_names.USAGE_VECTOR: list(COUNTERS),
        f"golem.com.payment.platform.{platform_name}.address": address,
        "golem.com.payment.protocol.version": 3,
        **terms.offered(),
    }


def constraints(subnet: str, now: float) -> str:
    """Returns the constraints on a demand: the same subnet, and an expiration after `now` (Unix seconds)."""
    return f"(&\n  ({property_names.EXPIRATION}>{int(now * 1000)})\n  ({property_names.SUBNET}={subnet})\n)"


def _cpu_info() -> dict[str, str]:
    """Returns the first processor's lines of /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in lines}
