"""A small country database of MaxMind's schema for the simulated people, so that the real geoip filter decides who is where."""

from __future__ import annotations

from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from extproc.demo.population import COUNTRY_NETWORKS


def write_country_database(path: Path) -> Path:
    """Write it and return its path."""
    writer = MMDBWriter(ip_version=4, database_type="extproc-demo-Country", languages=["en"], description="simulated people")
    for country, network in COUNTRY_NETWORKS.items():
        writer.insert_network(IPSet([str(network)]), {"country": {"iso_code": country}})
    writer.to_db_file(str(path))
    return path
