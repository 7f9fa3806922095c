//! The Merkle tree over a block's postings, as RFC 6962, section 2.1, has it.
//!
//! A leaf is hashed with the byte 0 before it and a node with the byte 1, so
//! that neither passes for the other. A tree of n leaves has the largest power
//! of two below n on its left, so that there is one tree for each n and no leaf
//! is doubled.

use crate::hash::Hash;

const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// The hash of a leaf's bytes.
pub fn leaf(bytes: &[u8]) -> Hash {
    Hash::of(&[&LEAF, bytes])
}

fn node(left: Hash, right: Hash) -> Hash {
    Hash::of(&[&NODE, left.as_bytes(), right.as_bytes()])
}

/// How many of `count` leaves, which are at least two, are on the left.
fn left_of(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// The root over leaves in their order. The root over none is the hash of
/// nothing.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(left_of(leaves.len()));
            node(root(left), root(right))
        }
    }
}

/// The hashes that lead from the leaf at `index` to the root, the nearest
/// first. `None` if there is no such leaf.
pub fn path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut leaves, mut index) = (leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(left_of(leaves.len()));
        if index < left.len() {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    Some(path)
}

/// The root to which a path leads from the leaf at `index` of `count` leaves.
/// `None` if the path is too long or too short for that place.
pub fn root_by_path(leaf: Hash, index: usize, count: usize, path: &[Hash]) -> Option<Hash> {
    if index >= count {
        return None;
    }
    if count == 1 {
        return path.is_empty().then_some(leaf);
    }
    let (sibling, below) = path.split_last()?;
    let left = left_of(count);
    if index < left {
        let own = root_by_path(leaf, index, left, below)?;
        Some(node(own, *sibling))
    } else {
        let own = root_by_path(leaf, index - left, count - left, below)?;
        Some(node(*sibling, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(inputs: &[&str]) -> Vec<Hash> {
        let bytes = |input: &&str| hex::decode(input).expect("digits");
        inputs.iter().map(|input| leaf(&bytes(input))).collect()
    }

    /// The roots are those of the test vectors that Certificate Transparency's
    /// implementations share, for 0 to 8 leaves.
    #[test]
    fn roots_are_those_of_rfc_6962() {
        let all = leaves(&[
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]);
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (count, expected) in roots.iter().enumerate() {
            assert_eq!(root(&all[..count]).to_string(), *expected, "{count}");
        }
    }

    /// A path leads to the root from its own leaf and place, and from no other
    /// place, in no tree of another size, and with no hash more or fewer.
    #[test]
    fn a_path_leads_from_its_own_place_only() {
        let inputs: Vec<Vec<u8>> = (0_u8..20).map(|number| vec![number]).collect();
        let all: Vec<Hash> = inputs.iter().map(|input| leaf(input)).collect();
        for count in 1..all.len() {
            let tree = &all[..count];
            let expected = Some(root(tree));
            assert_eq!(path(tree, count), None);
            for index in 0..count {
                let found = path(tree, index).expect("a path");
                assert_eq!(root_by_path(tree[index], index, count, &found), expected);
                for place in (0..count).filter(|place| *place != index) {
                    assert_ne!(root_by_path(tree[index], place, count, &found), expected);
                    assert_ne!(root_by_path(tree[place], index, count, &found), expected);
                }
                let mut longer = found.clone();
                longer.push(tree[index]);
                assert_eq!(root_by_path(tree[index], index, count, &longer), None);
                if let Some((_, shorter)) = found.split_last() {
                    assert_eq!(root_by_path(tree[index], index, count, shorter), None);
                }
            }
        }
    }
}
