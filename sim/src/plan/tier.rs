//! How much of a cluster a run simulates, and which of both tiers a seed gets in a mix.

use std::fmt;
use std::str::FromStr;

/// How much of a cluster is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Tasks only start, snapshot and end: many failures in a short time.
    ControlPlane,
    /// Tasks exchange records, align barriers and publish: their output is compared with the oracle's.
    Dataflow,
}

/// In a mix, every eighth seed exchanges records: such a run takes several times as long.
const MIX: u64 = 8;

impl Tier {
    /// Every tier, in the order of the declaration.
    pub const ALL: [Tier; 2] = [Tier::ControlPlane, Tier::Dataflow];

    /// The tier of this seed where nobody asks for one: both, in a fixed mix.
    #[must_use]
    pub fn of_seed(seed: u64) -> Tier {
        if seed % MIX == MIX - 1 {
            Tier::Dataflow
        } else {
            Tier::ControlPlane
        }
    }

    /// Its name on command lines and tapes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tier::ControlPlane => "control-plane",
            Tier::Dataflow => "dataflow",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Tier {
    type Err = String;

    /// # Errors
    ///
    /// What the names are, if it is none of them.
    fn from_str(text: &str) -> Result<Tier, String> {
        let mut all = Tier::ALL.into_iter();
        all.find(|tier| tier.name() == text)
            .ok_or_else(|| format!("there is no tier `{text}`: say control-plane or dataflow"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_read_as_it_is_written() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
        assert!("both".parse::<Tier>().is_err());
    }

    #[test]
    fn a_mix_of_seeds_has_both_tiers() {
        let dataflow = (0..80).filter(|seed| Tier::of_seed(*seed) == Tier::Dataflow);
        assert_eq!(dataflow.count(), 10);
    }
}
