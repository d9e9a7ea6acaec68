"""A real Prometheus that looks at one page each second: what it is started with. Debian's; `make tools` installs it."""

from __future__ import annotations

from pathlib import Path

from extproc.demo.processes import free_port


def command(program: str, directory: Path, target: str, path: str = "/metrics") -> tuple[list[str], str]:
    """(command line, URL) of a Prometheus on a free loopback port; its configuration and data are in the directory.

    `target`: host and port that it asks for `path`.
    """
    (directory / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: page, metrics_path: {path}, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    own = f"127.0.0.1:{free_port()}"
    files = [f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/prometheus"]
    return [program, *files, f"--web.listen-address={own}"], f"http://{own}"
