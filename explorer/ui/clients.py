"""Who asks: one address, or one network of IPv6, is one client."""

import ipaddress
from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"
HOME_NETWORK = 64  # bits of an IPv6 address: all of the rest is one customer's


def client_of(scope: Mapping[str, Any], proxies: int) -> str:
    """The address that a request comes from.

    Behind proxies it is the one that the outermost of them saw: the last entries of
    X-Forwarded-For are theirs; what stands before these, anybody can have written.

    >>> headers = [(b"x-forwarded-for", b"1.1.1.1, 2.2.2.2")]
    >>> client_of({"client": ("10.0.0.1", 5), "headers": headers}, 1)
    '2.2.2.2'
    """
    seen = (scope.get("client") or (UNKNOWN,))[0]
    if proxies:
        said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        chain = [part.strip() for part in said.decode("latin-1").split(",")]
        if len(chain) >= proxies:
            seen = chain[-proxies]
    try:
        address = ipaddress.ip_address(seen)
    except ValueError:
        return UNKNOWN
    if address.version == 6:
        mapped = address.ipv4_mapped
        if mapped is None:
            return str(ipaddress.ip_network((address, HOME_NETWORK), strict=False))
        address = mapped
    return str(address)
