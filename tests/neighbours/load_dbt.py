# Reads sources as dbt does, with any warning as an error, and says what it has understood. Arguments: the folder that has a
# project of each warehouse.
import pathlib
import sys

from dbt.cli.main import dbtRunner

PROJECT = "name: beside\nversion: '1.0'\nprofile: beside\n"
PROFILE = """
beside:
  target: there
  outputs:
    there: {type: postgres, host: localhost, port: 5432, user: nobody, password: none, dbname: none, schema: beside}
"""

for project in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    (project / "dbt_project.yml").write_text(PROJECT)
    (project / "profiles.yml").write_text(PROFILE)
    place = ["--project-dir", str(project), "--profiles-dir", str(project)]
    ended = dbtRunner().invoke(["--quiet", "--warn-error", "parse", *place])
    assert ended.success, (project.name, ended.exception)
    manifest = ended.result
    tests = sum(node.resource_type == "test" for node in manifest.nodes.values())
    print(f"{project.name}: {len(manifest.sources)} sources, {tests} tests, {len(manifest.exposures)} exposures")
    for exposure in sorted(manifest.exposures.values(), key=lambda one: one.name):
        print(f"  {exposure.name} <- {sorted(one.split('.', 2)[2] for one in exposure.depends_on.nodes)}")
