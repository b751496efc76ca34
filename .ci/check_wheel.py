"""The wheel must hold the package, its data and nothing else."""

import sys
import zipfile

NEEDED = {
    "hyposcreen/__init__.py",
    "hyposcreen/py.typed",
    "hyposcreen/cli.py",
    "hyposcreen/agent/orchestrator.py",
    "hyposcreen/agent/sandbox/worker.py",
    "hyposcreen/agent/report/templates/report.html.j2",
    "hyposcreen/hypotheses/demo_annotations/annotations.toml",
    "hyposcreen/hypotheses/demo_annotations/markers.gmt",
    "hyposcreen/hypotheses/campaigns/scgpt-2602.22247/campaign.toml",
    "hyposcreen/hypotheses/importers/sources.toml",
    "hyposcreen/agent/report/templates/control.html.j2",
    "hyposcreen/tests_library/catalogue.py",
    "hyposcreen/embeddings_cache/demo/cache/manifest.json",
    "hyposcreen/embeddings_cache/demo/cache/layer_04.npy",
    "hyposcreen/embeddings_cache/demo/control_random_init/layer_04.npy",
    "hyposcreen/embeddings_cache/demo/control_random_init_1/layer_04.npy",
    "hyposcreen/embeddings_cache/demo/model/model.safetensors",
    "hyposcreen/prompts/__init__.py",
    "hyposcreen/prompts/system.md.j2",
    "hyposcreen/prompts/critic.md.j2",
    "hyposcreen/agent/report/templates/proposers.html.j2",
}
ROOMS = {"agent", "hypotheses", "tests_library", "embeddings_cache", "prompts"}

names = set(zipfile.ZipFile(sys.argv[1]).namelist())
missing = sorted(NEEDED - names)
strangers = sorted(
    name
    for name in names
    if ".dist-info/" not in name
    and not (name.startswith("hyposcreen/") and (name.count("/") == 1 or name.split("/")[1] in ROOMS))
)
leaks = sorted(n for n in names if "__pycache__" in n or "/store/" in n or n.endswith((".db", ".nbi", ".nbc")))
for title, found in (("missing", missing), ("not ours", strangers), ("must not ship", leaks)):
    if found:
        sys.exit(f"wheel: {title}: {found[:10]}")
print(f"wheel: {len(names)} files, all in place")
