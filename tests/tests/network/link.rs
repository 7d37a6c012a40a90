//! The link: changes of address, cuts, loss, one direction only, two connections of one worker, an older master.

use super::*;

#[test]
fn a_change_of_address_in_the_middle_of_a_build_is_not_even_a_reconnect() {
    story(|farm| {
        let proxy = printing(farm)?;
        let before = worker(farm, "w1")?;
        let mut address = before["address"].clone();
        for _ in 0..3 {
            proxy.move_upstream_port()?;
            prints_more(farm)?;
            let now = worker(farm, "w1")?;
            ensure!(
                now["address"] != address,
                "expected another address, found {now:#}"
            );
            address = now["address"].clone();
            ensure!(
                now["since"] == before["since"],
                "expected the same connection: {now:#}"
            );
        }
        ends_whole(farm)?;
        ensure!(
            said(farm, "w1", "is connected to")? == 1,
            "the worker dialled again"
        );
        Ok(())
    });
}

#[test]
fn a_short_cut_is_sat_out() {
    story(|farm| {
        let proxy = printing(farm)?;
        let before = worker(farm, "w1")?;
        proxy.set(CUT);
        // Its length is the point of the test: not a wait for something.
        std::thread::sleep(IDLE.mul_f64(0.4));
        ensure!(proxy.dropped() > 0, "nothing was cut");
        proxy.set(Weather::default());
        prints_more(farm)?;
        ensure!(
            worker(farm, "w1")?["since"] == before["since"],
            "the worker dialled again"
        );
        ends_whole(farm)
    });
}

#[test]
fn after_a_long_cut_the_log_goes_on_where_it_was() {
    story(|farm| {
        let proxy = printing(farm)?;
        let shown = farm.capstan_ok(&["worker", "list"])?;
        ensure!(
            shown.contains("connected, ") && !shown.contains("not heard"),
            "{shown}"
        );
        let began = Instant::now();
        proxy.set(CUT);
        let silent = wait_connected(farm, "w1", false)?;
        let noticed = began.elapsed();
        ensure!(noticed < IDLE + SLACK, "the master noticed after {noticed:?}");
        ensure!(
            silent["since"] == silent["last_heard"],
            "silent since it was last heard: {silent:#}"
        );
        ensure!(
            farm.capstan_ok(&["worker", "list"])?.contains("silent, "),
            "expected w1 to be silent"
        );
        // Two seconds more, so that it is dialling into nothing when the network returns.
        std::thread::sleep(Duration::from_secs(2));
        let returned = Instant::now();
        proxy.set(Weather::default());
        wait_connected(farm, "w1", true)?;
        println!(
            "noticed after {noticed:?}, back {:?} after the network",
            returned.elapsed()
        );
        ensure!(
            returned.elapsed() < Duration::from_secs(5) + SLACK,
            "the worker took {:?} to come back",
            returned.elapsed()
        );
        prints_more(farm)?;
        ends_whole(farm)
    });
}

#[test]
#[ignore = "a measurement that takes a minute: run it by name, with --nocapture"]
fn how_soon_after_the_network_a_worker_is_back() {
    story(|farm| {
        let proxy = printing(farm)?;
        for seconds in [3, 4, 6, 9, 13, 18] {
            proxy.set(CUT);
            std::thread::sleep(Duration::from_secs(seconds));
            let returned = Instant::now();
            proxy.set(Weather::default());
            wait_connected(farm, "w1", true)?;
            println!("a cut of {seconds} s: back after {:?}", returned.elapsed());
            prints_more(farm)?;
        }
        ends_whole(farm)
    });
}

#[test]
fn a_network_that_passes_one_direction_only_is_noticed_by_both_ends() {
    story(|farm| {
        let proxy = printing(farm)?;
        for (times, way) in [(1, Way::ToMaster), (2, Way::ToWorkers)] {
            let began = Instant::now();
            proxy.set(Weather {
                only: Some(way),
                ..Weather::default()
            });
            wait_connected(farm, "w1", false)?;
            let by_master = began.elapsed();
            wait_for("the worker to notice", BOUND, || {
                let ended = said(farm, "w1", "the connection to the master ended")?;
                Ok((ended == times).then_some(()))
            })?;
            let by_worker = began.elapsed();
            println!(
                "{way:?} only: noticed by the master after {by_master:?}, by the worker after {by_worker:?}"
            );
            for took in [by_master, by_worker] {
                // Each end's own limit, one after the other, would take nearly twice the idle time.
                ensure!(took < IDLE + SLACK / 2, "{way:?}: noticed after {took:?}");
            }
            proxy.set(Weather::default());
            wait_connected(farm, "w1", true)?;
            prints_more(farm)?;
        }
        ends_whole(farm)
    });
}

#[test]
fn a_lossy_network_that_reorders_changes_no_byte() {
    story(|farm| {
        let proxy = printing(farm)?;
        proxy.set(Weather {
            loss: 0.1,
            reorder: 0.2,
            delay: Duration::from_millis(2),
            ..Weather::default()
        });
        for _ in 0..10 {
            prints_more(farm)?;
        }
        ends_whole(farm)?;
        ensure!(proxy.dropped() > 10, "expected losses, found {}", proxy.dropped());
        Ok(())
    });
}

#[test]
fn of_two_daemons_with_one_identity_one_wins_and_the_other_says_why_it_ends() {
    story(|farm| {
        let proxy = printing(farm)?;
        let (original, copy) = (farm.worker_folder("w1"), farm.worker_folder("copy"));
        std::fs::create_dir(&copy)?;
        for entry in std::fs::read_dir(&original)?.flatten() {
            if entry.file_type()?.is_file() && entry.file_name() != "lock" {
                std::fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        let began = Instant::now();
        farm.start_worker("copy")?;
        let status = farm.worker("w1")?.wait(BOUND)?;
        let took = began.elapsed();
        ensure!(took < SLACK * 2, "it took {took:?}");
        ensure!(
            status.code() == Some(3),
            "expected the status that keeps service managers from starting it again, found {status}"
        );
        let output = farm.worker("w1")?.output()?;
        ensure!(
            output.contains("has connected again, from")
                && output.contains("invite it under a name of its own"),
            "{output}"
        );
        ensure!(said(farm, "copy", "is connected to")? == 1, "expected one winner");
        drop(proxy);
        Ok(())
    });
}

#[test]
fn a_master_on_an_old_copy_of_its_data_is_refused() {
    story(|farm| {
        farm.write("ci.star", star(&["w1"], "true"))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.stop_master()?;
        let (data, old) = (farm.folder().join("data"), farm.root().join("old"));
        copy_folder(&data, &old)?;
        // The worker sees two later ones: the copy, started once, is older than the last of them.
        for connected in [2, 3] {
            farm.start_master()?;
            wait_for("the worker to be back", BOUND, || {
                Ok((said(farm, "w1", "is connected to")? == connected).then_some(()))
            })?;
            farm.stop_master()?;
        }
        std::fs::remove_dir_all(&data)?;
        std::fs::rename(&old, &data)?;
        farm.start_master()?;
        let words =
            "expected a master of epoch 3 or later, found epoch 2; it was replaced, or runs on an old copy";
        wait_for("the worker to refuse", BOUND, || {
            let (master, worker) = (farm.master()?.output()?, farm.worker("w1")?.output()?);
            Ok((master.contains(words) && worker.contains(words)).then_some(()))
        })?;
        ensure!(worker(farm, "w1")?["connected"] == false, "it is not served");
        Ok(())
    });
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
