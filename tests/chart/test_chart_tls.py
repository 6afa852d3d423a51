"""docs/tls.md: the values for cert-manager, rendered: the certificate has the names that the release's own callers
look for.
"""

import re
from typing import Any

import yaml
from rendering import DATABASE, REPOSITORY, merged, rendered

PAGE = (REPOSITORY / "docs" / "tls.md").read_text()
(WRITTEN,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def host(url: str) -> str:
    return url.removeprefix("https://").partition(":")[0]


def test_the_certificate_of_the_page_fits_the_release() -> None:
    keda = {"keda": {"enabled": True, "queues": [{"jobType": "pay", "targetLength": 20}]}}
    found = rendered(merged(DATABASE, keda, yaml.safe_load(WRITTEN)))
    (certificate,) = found.of_kind("Certificate")
    names = certificate["spec"]["dnsNames"]
    (pod,) = found.of_kind("Pod")
    variables: dict[str, Any] = {
        each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]
    }
    (monitor,) = found.of_kind("ServiceMonitor")
    (scaled,) = found.of_kind("ScaledObject")
    looked_for = {
        host(variables["WINDLASS_URL"]),
        monitor["spec"]["endpoints"][0]["tlsConfig"]["serverName"],
        host(scaled["spec"]["triggers"][0]["metadata"]["url"]),
    }
    assert looked_for <= set(names)
    (engine,) = found.of_kind("Deployment")
    volumes = {each["name"]: each for each in engine["spec"]["template"]["spec"]["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == certificate["spec"]["secretName"]
