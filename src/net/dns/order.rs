//! The order in which SRV records are tried.

use super::message::Service;
use crate::xmpp::Random;

/// RFC 2782, "Usage rules": by priority; among equals drawn by lot, each with the chance that its weight gives it.
///
/// XEP-0368 §3: records of direct TLS and of STARTTLS stand in one list, so the first part tells them apart.
pub fn order(mut services: Vec<(bool, Service)>, random: &mut dyn Random) -> Vec<(bool, Service)> {
    services.sort_by_key(|(_, service)| (service.priority, service.weight));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(priority) = services.first().map(|(_, service)| service.priority) {
        let equals = services.partition_point(|(_, service)| service.priority <= priority);
        let weights = services.iter().take(equals).map(|(_, service)| u64::from(service.weight));
        let lot = draw(random, weights.clone().sum());
        let mut sum = 0;
        let chosen = weights.map(|weight| {
            sum += weight;
            sum
        });
        let chosen = chosen.into_iter().position(|sum| sum >= lot).unwrap_or(0);
        ordered.push(services.remove(chosen));
    }
    ordered
}

/// A number from 0 to `max`, both included.
fn draw(random: &mut dyn Random, max: u64) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    // The sums are of 32 weights of 16 bits at most: what the division favours is beyond measuring.
    u64::from_le_bytes(bytes) % (max + 1)
}

#[cfg(test)]
mod tests {
    use super::super::name::Name;
    use super::super::tests::Dice;
    use super::*;

    fn service(name: &str, priority: u16, weight: u16) -> (bool, Service) {
        (name.starts_with('s'), Service { priority, weight, port: 5269, target: Name::new(name) })
    }

    fn names(services: &[(bool, Service)]) -> String {
        services.iter().filter_map(|(_, service)| service.target.as_ref()).map(Name::as_str).collect()
    }

    #[test]
    fn priorities_go_first_whatever_the_dice_say() {
        for seed in 0..100 {
            let services =
                vec![service("c", 20, 65535), service("a", 5, 0), service("sb", 10, 1), service("d", 65535, 9)];
            assert_eq!(names(&order(services, &mut Dice::new(seed))), "asbcd");
        }
        assert!(order(Vec::new(), &mut Dice::new(0)).is_empty());
    }

    #[test]
    fn weights_are_chances() {
        let mut dice = Dice::new(7);
        let mut first = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            let services = vec![service("a", 1, 60), service("b", 1, 30), service("s", 1, 10), service("z", 1, 0)];
            let ordered = order(services, &mut dice);
            assert_eq!(ordered.len(), 4);
            *first.entry(names(&ordered[..1])).or_insert(0) += 1;
        }
        let near = |name: &str, expected: i32| (first.get(name).copied().unwrap_or(0) - expected).abs() < 300;
        assert!(near("a", 5940) && near("b", 2970) && near("s", 990) && near("z", 99), "{first:?}");
    }

    #[test]
    fn without_weights_the_order_is_that_of_the_answer() {
        let services = vec![service("b", 1, 0), service("a", 1, 0), service("c", 1, 0)];
        assert_eq!(names(&order(services, &mut Dice::new(3))), "bac");
    }
}
