//! A stretch of network between workers and master that a test controls: datagrams are lost, held back, overtaken, cut off,
//! or come to the master from another port. A farm names it in `advertise` of `[link]`, so that workers dial it.
//!
//! What passes is decided by a seed, but which datagram meets which decision depends on the machine's timing.

use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// The largest datagram there is.
const LARGEST: usize = 65_535;
/// Datagrams under way at a time; more are dropped, as a router would.
const UNDER_WAY: usize = 4096;
/// Clients at a time. Each time that a worker dials, it is a new client; the one that was silent for the longest goes.
const CLIENTS: usize = 64;
/// How soon a thread notices that it has to end.
const NOTICE: Duration = Duration::from_millis(50);
/// How much longer a datagram that others overtake is under way, at most.
const OVERTAKEN: Duration = Duration::from_millis(20);

/// What happens to datagrams. The default is a clear day: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// The part of the datagrams that is lost: 0 none, 1 all.
    pub loss: f64,
    /// The part of the datagrams that others overtake.
    pub reorder: f64,
    /// How long each datagram is under way.
    pub delay: Duration,
    /// Nothing passes.
    pub cut: bool,
    /// Only this direction passes.
    pub only: Option<Way>,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From workers to the master.
    ToMaster,
    /// From the master to workers.
    ToWorkers,
}

/// See the module. Dropping it ends its threads.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    front: UdpSocket,
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    random: SmallRng,
    clients: HashMap<SocketAddr, Client>,
    under_way: BinaryHeap<Datagram>,
    accepted: u64,
    dropped: u64,
    ended: bool,
}

#[derive(Debug)]
struct Client {
    socket: Arc<UdpSocket>,
    heard: Instant,
}

/// One that waits for its moment. The earliest is the greatest, for the heap; of the same moment, the one that came first.
#[derive(Debug)]
struct Datagram {
    due: Instant,
    number: u64,
    client: SocketAddr,
    way: Way,
    bytes: Vec<u8>,
}

impl Proxy {
    /// Listens on a free port of the loopback and passes everything on to the master at `upstream`.
    pub fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        front.set_read_timeout(Some(NOTICE))?;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            front,
            upstream,
            state: Mutex::new(State {
                weather: Weather::default(),
                random: SmallRng::seed_from_u64(seed),
                clients: HashMap::new(),
                under_way: BinaryHeap::new(),
                accepted: 0,
                dropped: 0,
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let (taking, carrying) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || taking.take_from_clients()),
            std::thread::spawn(move || carrying.carry()),
        ];
        Ok(Self {
            address,
            shared,
            threads,
        })
    }

    /// Where workers dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, also for what is under way.
    pub fn set(&self, weather: Weather) {
        self.shared.state().weather = weather;
    }

    /// How many datagrams the weather has taken so far.
    pub fn dropped(&self) -> u64 {
        self.shared.state().dropped
    }

    /// From now on the master sees every client at a new port; what it sends to the old one is lost.
    pub fn move_upstream_port(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        let clients: Vec<_> = state.clients.keys().copied().collect();
        for client in clients {
            let socket = self.shared.open(client)?;
            if let Some(known) = state.clients.get_mut(&client) {
                known.socket = socket;
            }
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_from_clients(self: &Arc<Self>) {
        let mut bytes = vec![0; LARGEST];
        loop {
            let received = self.front.recv_from(&mut bytes);
            if self.state().ended {
                return;
            }
            // Errors are the time-out, and what the loopback says of clients that have gone.
            let Ok((length, client)) = received else { continue };
            if self.know(client).is_ok() {
                self.accept(client, Way::ToMaster, &bytes[..length]);
            }
        }
    }

    fn know(self: &Arc<Self>, client: SocketAddr) -> io::Result<()> {
        let mut state = self.state();
        let now = Instant::now();
        if let Some(known) = state.clients.get_mut(&client) {
            known.heard = now;
            return Ok(());
        }
        if state.clients.len() >= CLIENTS {
            let silent = state.clients.iter().min_by_key(|(_, known)| known.heard);
            let silent = silent.map(|(&client, _)| client);
            silent.and_then(|silent| state.clients.remove(&silent));
        }
        let socket = self.open(client)?;
        state.clients.insert(client, Client { socket, heard: now });
        Ok(())
    }

    /// Opens a socket to the master on behalf of a client; its thread ends when the client has another one or none.
    fn open(self: &Arc<Self>, client: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        socket.connect(self.upstream)?;
        socket.set_read_timeout(Some(NOTICE))?;
        let (shared, reading) = (self.clone(), socket.clone());
        std::thread::spawn(move || shared.take_from_master(client, &reading));
        Ok(socket)
    }

    fn take_from_master(&self, client: SocketAddr, socket: &Arc<UdpSocket>) {
        let mut bytes = vec![0; LARGEST];
        loop {
            let received = socket.recv(&mut bytes);
            let current = {
                let state = self.state();
                let known = state.clients.get(&client);
                !state.ended && known.is_some_and(|known| Arc::ptr_eq(&known.socket, socket))
            };
            if !current {
                return;
            }
            if let Ok(length) = received {
                self.accept(client, Way::ToWorkers, &bytes[..length]);
            }
        }
    }

    fn accept(&self, client: SocketAddr, way: Way, bytes: &[u8]) {
        let mut state = self.state();
        let weather = state.weather;
        // Each draws as many numbers as any other: the seed's sequence does not depend on the weather.
        let [loss, order, hold] = std::array::from_fn(|_| state.random.random_range(0.0..1.0));
        if loss < weather.loss || weather.blocks(way) || state.under_way.len() >= UNDER_WAY {
            state.dropped += 1;
            return;
        }
        let held = match order < weather.reorder {
            true => OVERTAKEN.mul_f64(hold),
            false => Duration::ZERO,
        };
        state.accepted += 1;
        let datagram = Datagram {
            due: Instant::now() + weather.delay + held,
            number: state.accepted,
            client,
            way,
            bytes: bytes.to_vec(),
        };
        state.under_way.push(datagram);
        self.changed.notify_all();
    }

    fn carry(&self) {
        let mut state = self.state();
        while !state.ended {
            let wait = state
                .under_way
                .peek()
                .map(|next| next.due.saturating_duration_since(Instant::now()));
            state = match wait {
                Some(Duration::ZERO) => {
                    let next = state.under_way.pop();
                    let socket = next.as_ref().and_then(|next| state.clients.get(&next.client));
                    let socket = socket.map(|known| known.socket.clone());
                    let blocked = next.as_ref().is_some_and(|next| state.weather.blocks(next.way));
                    state.dropped += u64::from(blocked);
                    drop(state);
                    if let (Some(next), Some(socket), false) = (next, socket, blocked) {
                        // What cannot be sent is lost, as datagrams are.
                        let _ = match next.way {
                            Way::ToMaster => socket.send(&next.bytes),
                            Way::ToWorkers => self.front.send_to(&next.bytes, next.client),
                        };
                    }
                    self.state()
                }
                wait => {
                    let waited = self.changed.wait_timeout(state, wait.unwrap_or(NOTICE));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Weather {
    fn blocks(&self, way: Way) -> bool {
        self.cut || self.only.is_some_and(|only| only != way)
    }
}

impl Ord for Datagram {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Datagram {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Datagram {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Datagram {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_for;

    /// Long enough for a datagram on the loopback of a busy machine.
    const SOON: Duration = Duration::from_secs(5);

    fn socket(timeout: Duration) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(timeout)).unwrap();
        socket
    }

    fn received(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
        let mut bytes = [0; 64];
        let (length, from) = socket.recv_from(&mut bytes).ok()?;
        Some((bytes[..length].to_vec(), from))
    }

    #[test]
    fn datagrams_pass_both_ways_and_each_client_gets_its_own() {
        let master = socket(SOON);
        let proxy = Proxy::start(master.local_addr().unwrap(), 1).unwrap();
        let clients = [socket(SOON), socket(SOON)];
        for (index, client) in clients.iter().enumerate() {
            client.send_to(&[index as u8], proxy.address()).unwrap();
            let (bytes, from) = received(&master).expect("a datagram at the master");
            assert_eq!(bytes, [index as u8]);
            master.send_to(&[10 + bytes[0]], from).unwrap();
        }
        for (index, client) in clients.iter().enumerate() {
            let answer = received(client).expect("an answer");
            assert_eq!(answer, (vec![10 + index as u8], proxy.address()));
        }
    }

    #[test]
    fn nothing_passes_a_cut_and_one_way_only_that_way() {
        let master = socket(SOON);
        let proxy = Proxy::start(master.local_addr().unwrap(), 2).unwrap();
        let client = socket(SOON);
        let send = |byte: u8| client.send_to(&[byte], proxy.address()).unwrap();
        let cut = Weather {
            cut: true,
            ..Weather::default()
        };
        let lossy = Weather {
            loss: 1.0,
            ..Weather::default()
        };
        let other_way = Weather {
            only: Some(Way::ToWorkers),
            ..Weather::default()
        };
        for (blocked, number) in [cut, lossy, other_way].into_iter().zip(1..) {
            proxy.set(blocked);
            send(1);
            wait_for("the loss of a datagram", SOON, || {
                Ok((proxy.dropped() == number).then_some(()))
            })
            .unwrap();
        }
        proxy.set(Weather {
            only: Some(Way::ToMaster),
            ..Weather::default()
        });
        send(2);
        let (bytes, from) = received(&master).expect("the datagram after the cut");
        assert_eq!(bytes, [2]);
        master.send_to(&[3], from).unwrap();
        wait_for("the loss of the answer", SOON, || {
            Ok((proxy.dropped() == 4).then_some(()))
        })
        .unwrap();
        client.set_read_timeout(Some(NOTICE)).unwrap();
        assert_eq!(received(&client), None);
    }

    #[test]
    fn after_the_move_the_master_sees_another_port_and_its_answers_arrive() {
        let master = socket(SOON);
        let proxy = Proxy::start(master.local_addr().unwrap(), 3).unwrap();
        let client = socket(SOON);
        client.send_to(b"before", proxy.address()).unwrap();
        let (_, old) = received(&master).expect("a datagram");
        proxy.move_upstream_port().unwrap();
        client.send_to(b"after", proxy.address()).unwrap();
        let (bytes, new) = received(&master).expect("a datagram from the new port");
        assert_eq!(bytes, b"after");
        assert_ne!(old, new);
        master.send_to(b"lost", old).ok();
        master.send_to(b"found", new).unwrap();
        assert_eq!(received(&client).expect("the answer to the new port").0, b"found");
    }

    #[test]
    fn a_delay_holds_back_and_reordering_loses_nothing() {
        let master = socket(SOON);
        let proxy = Proxy::start(master.local_addr().unwrap(), 4).unwrap();
        let client = socket(SOON);
        let delay = 2 * NOTICE;
        proxy.set(Weather {
            reorder: 0.5,
            delay,
            ..Weather::default()
        });
        let start = Instant::now();
        for byte in 0..50u8 {
            client.send_to(&[byte], proxy.address()).unwrap();
        }
        let mut seen: Vec<u8> = (0..50)
            .map(|_| received(&master).expect("each datagram").0[0])
            .collect();
        assert!(start.elapsed() >= delay);
        assert!(!seen.is_sorted(), "expected another order, found {seen:?}");
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..50));
    }
}
