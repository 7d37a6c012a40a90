//! Queues, workers and builders by chance.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Whatever waits and whoever is there: nothing is served twice, no worker gets too much, and nothing that could start is left.
#[test]
fn any_queue_is_given_out_within_the_rules() {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..300 {
        let labels = ["x", "y"];
        let builders: Vec<_> = (0..1 + random(6))
            .map(|number| Builder {
                collapse: random(2) == 0,
                directory: (random(3) == 0).then(|| "shared".to_owned()),
                ..builder(&format!("b{number}"), &[], &labels[..random(3) as usize])
            })
            .collect();
        let list: Places = (0..random(5))
            .map(|number| {
                let place = place(&labels[..random(3) as usize], u32::try_from(random(4)).unwrap());
                (format!("w{number}"), place)
            })
            .collect();
        let count = builders.len() as u64;
        let queue: Vec<_> = (1..=random(30) as i64)
            .map(|id| {
                waiting(
                    id,
                    &format!("b{}", random(count + 1)),
                    &random(3).to_string(),
                    random(3) as i32,
                )
            })
            .collect();
        let index = index(builders);
        let pairings = paired(&index, queue.clone(), &list);
        let mut served = BTreeSet::new();
        let mut load: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pairing in &pairings {
            for id in &pairing.requests {
                assert!(served.insert(*id), "round {round}: {id} is served twice");
            }
            let (number, _) = index.builder(&pairing.builder).unwrap();
            load.entry(&pairing.worker)
                .or_default()
                .push(index.directory(number));
        }
        for (worker, folders) in &load {
            assert!(
                folders.len() <= list[*worker].slots as usize,
                "round {round}: {worker} has too much"
            );
            let different: BTreeSet<_> = folders.iter().collect();
            assert_eq!(
                different.len(),
                folders.len(),
                "round {round}: {worker} uses a folder twice"
            );
        }
        for entry in queue.iter().filter(|entry| !served.contains(&entry.id)) {
            let Some((number, _)) = index.builder(&entry.builder) else {
                continue;
            };
            let left = list.iter().find(|(name, place)| {
                let there = load.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                is_fit(index.wants(number), &place.labels)
                    && there.len() < place.slots as usize
                    && !there.contains(&index.directory(number))
            });
            assert_eq!(
                left.map(|(name, _)| name),
                None,
                "round {round}: {} could have started",
                entry.id
            );
        }
    }
}
