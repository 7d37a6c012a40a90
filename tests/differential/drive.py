"""Drives changes through the schedulers of a real Buildbot master, and prints the requests that they make.

usage: drive.py FOLDER    (run by `cargo xtask differential`; the folder is one of `buildbot create-master`)

FOLDER/cases.json says which schedulers there are, FOLDER/stream.jsonl which changes come when. The master is Buildbot's own,
with its own database; only its clock is one that is turned by hand, so that days pass in seconds, and its builds are ended here,
so that both sides have the same results. Prints one JSON object a buildset.
"""

import heapq
import json
import os
import sys
import warnings

import sqlalchemy
from twisted.internet import threads
from twisted.python import threadpool

from buildbot.test.fake.reactor import NonThreadPool, TestReactor
from buildbot.util import twisted as buildbot_twisted
from buildbot.util.eventual import _setReactor

threadpool.ThreadPool = NonThreadPool
buildbot_twisted.ThreadPool = NonThreadPool
reactor = TestReactor()
_setReactor(reactor)
threads.deferToThread = lambda function, *args, **kwargs: threads.deferToThreadPool(
    reactor, reactor.getThreadPool(), function, *args, **kwargs
)

from buildbot.config.master import MasterConfig
from buildbot.master import BuildMaster
from buildbot.plugins import schedulers, util, worker
from buildbot.process.results import FAILURE, SUCCESS

# Buildbot's test package, which has the clock, turns warnings into errors.
warnings.resetwarnings()
warnings.simplefilter("ignore")

@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def hurry(connection, _record):
    """The database is thrown away: nothing in it has to survive this machine."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


# The schedulers that were made, by name: one may name an earlier one.
MADE = {}


def filter_of(wanted):
    return util.ChangeFilter(**wanted)


def importance(prefixes):
    return lambda change: not all(name.startswith(tuple(prefixes)) for name in change.files)


def scheduler_of(case):
    """One scheduler, from the part `buildbot` of a case."""
    options = dict(case["buildbot"])
    kind = getattr(schedulers, options.pop("type"))
    if "change_filter" in options:
        options["change_filter"] = filter_of(options["change_filter"])
    if "unimportant" in options:
        options["fileIsImportant"] = importance(options.pop("unimportant"))
    if "upstream" in options:
        options["upstream"] = MADE[options["upstream"]]
    made = kind(name=case["name"], builderNames=case["builders"], **options)
    MADE[case["name"]] = made
    return made


class Loader:
    def __init__(self, cases):
        self.cases = cases

    def loadConfig(self):
        names = sorted({name for case in self.cases for name in case["builders"]})
        return MasterConfig.loadFromDict(
            {
                "workers": [worker.Worker("nobody", "password")],
                "protocols": {"null": {}},
                "builders": [
                    util.BuilderConfig(name=name, workernames=["nobody"], factory=util.BuildFactory(), collapseRequests=False)
                    for name in names
                ],
                "schedulers": [scheduler_of(case) for case in self.cases],
                "buildbotNetUsageData": None,
                "db": {"db_url": "sqlite:///state.sqlite"},
            },
            "cases.json",
        )


def done(deferred):
    """The result of a deferred that needs no time to pass."""
    found = []
    deferred.addBoth(found.append)
    for _ in range(1000):
        if found:
            break
        reactor.advance(0)
    if not found:
        raise SystemExit("expected an answer without time passing, found none")
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def result_of(stamps):
    """The rule that both sides follow."""
    text = "".join(stamp["revision"] or "" for stamp in stamps)
    return FAILURE if sum(text.encode()) % 4 == 0 else SUCCESS


def settle():
    """Lets everything happen that needs no time."""
    for _ in range(20):
        reactor.advance(0)


def main(folder):
    os.chdir(folder)
    with open("cases.json") as file:
        plan = json.load(file)
    with open("stream.jsonl") as file:
        agenda = [(change["at"], 0, number, change) for number, change in enumerate(map(json.loads, file))]
    heapq.heapify(agenda)
    reactor.advance(plan["begin"])
    master = BuildMaster(folder, reactor=reactor, config_loader=Loader(plan["cases"]))
    done(master.startService())
    if not master.running or not master.data.updates:
        raise SystemExit("expected the master to start; its reasons are in twistd.log")
    # Nobody builds: what ends, ends here.
    master.botmaster.brd.maybeStartBuildsOn = lambda *_: None

    followed = {case["buildbot"].get("upstream") for case in plan["cases"]}

    def submitted(_key, message):
        heapq.heappush(agenda, (reactor.seconds() + plan["duration"], 1, message["bsid"], None))

    done(master.mq.startConsuming(submitted, ("buildsets", None, "new")))
    while agenda or reactor.seconds() < plan["end"]:
        # Timers may submit before the next entry: no further than that at once.
        due = min((call.getTime() for call in reactor.getDelayedCalls()), default=plan["end"])
        entry = agenda[0][0] if agenda else plan["end"]
        moment = min(due, entry, plan["end"])
        reactor.advance(max(0, moment - reactor.seconds()))
        settle()
        while agenda and agenda[0][0] <= reactor.seconds():
            _, what, key, change = heapq.heappop(agenda)
            if what == 0:
                add(master, change)
            elif scheduler_of_buildset(master, key) in followed:
                complete(master, key)
            settle()
        if reactor.seconds() >= plan["end"]:
            break
    report(master)


def add(master, change):
    names = ("author", "comments", "revision", "branch", "category", "files", "project", "repository", "codebase", "properties")
    facts = {name: change[name] for name in names}
    done(master.data.updates.addChange(when_timestamp=int(change["at"]), **facts))


def scheduler_of_buildset(master, key):
    return done(master.db.buildsets.getBuildsetProperties(key))["scheduler"][0]


def complete(master, key):
    buildset = done(master.data.get(("buildsets", key)))
    rows = done(master.db.buildrequests.getBuildRequests(bsid=key, complete=False))
    own = [row.buildrequestid for row in rows]
    done(master.data.updates.claimBuildRequests(own))
    done(master.data.updates.completeBuildRequests(own, result_of(buildset["sourcestamps"])))
    done(master.data.updates.maybeBuildsetComplete(key))


def report(master):
    builders = {row["builderid"]: row["name"] for row in done(master.data.get(("builders",)))}
    for buildset in done(master.data.get(("buildsets",))):
        key = buildset["bsid"]
        own = [builders[row.builderid] for row in done(master.db.buildrequests.getBuildRequests(bsid=key))]
        names = ("codebase", "repository", "project", "branch", "revision")
        stamps = [{name: stamp[name] for name in names} for stamp in buildset["sourcestamps"]]
        row = {
            "scheduler": scheduler_of_buildset(master, key),
            "at": buildset["submitted_at"],
            "builders": sorted(own),
            "stamps": sorted(stamps, key=lambda stamp: stamp["codebase"]),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
