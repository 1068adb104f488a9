//! Known trees, and all proofs of small ones.

use super::*;
use crate::jose::hex;
use proptest::prelude::*;

/// MTH of RFC 6962 section 2.1, word for word.
fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len() as u64) as usize);
            node(&root_of(left), &root_of(right))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf(&index.to_be_bytes())).collect()
}

fn prove(ranges: Vec<Range<u64>>, leaves: &[Hash]) -> Vec<Hash> {
    let mut roots = Roots::new(ranges, &Tree::default()).unwrap();
    leaves.iter().for_each(|leaf| roots.push(*leaf));
    roots.finish().unwrap()
}

fn tree_of(leaves: &[Hash]) -> Tree {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree
}

/// The inputs and roots that implementations of Certificate Transparency test themselves with.
#[test]
fn the_known_tree_has_its_known_roots() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
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
    let mut tree = Tree::default();
    for (count, root) in roots.into_iter().enumerate() {
        assert_eq!(hex(&tree.root()), root, "{count} leaves");
        if let Some(input) = inputs.get(count) {
            tree.push(leaf(input));
        }
    }
}

#[test]
fn every_proof_of_a_small_tree_holds_and_no_other_does() {
    let all = leaves(40);
    for size in 0..=40u64 {
        let now = &all[..size as usize];
        let root = root_of(now);
        let tree = tree_of(now);
        assert_eq!(tree.root(), root);
        assert_eq!(Tree::from_peaks(size, tree.peaks().to_vec()), Some(tree.clone()));
        assert_eq!(
            Tree::from_peaks(size + 1, tree.peaks().to_vec()).is_some(),
            (size + 1).count_ones() == size.count_ones()
        );
        for index in 0..size {
            let proof = prove(inclusion(index, size).unwrap(), now);
            let found = root_with(all[index as usize], index, size, &proof);
            assert_eq!(found, Some(root), "{index} of {size}");
            for other in (0..size).filter(|other| *other != index) {
                assert_ne!(root_with(all[index as usize], other, size, &proof), Some(root));
            }
            assert_eq!(root_with(all[index as usize], index, size, &[&proof[..], &[root]].concat()), None);
        }
        assert_eq!(inclusion(size, size), None);
        for old in 0..=size {
            let (before, after) = ((old, root_of(&all[..old as usize])), (size, root));
            let proof = prove(consistency(old, size).unwrap(), now);
            assert!(is_consistent(before, after, &proof), "{old} of {size}");
            let mut growth = Growth::new(&tree_of(&all[..old as usize]), size).unwrap();
            now[old as usize..].iter().for_each(|leaf| growth.push(*leaf));
            assert!(growth.is_done());
            // What comes later is no part of it.
            growth.push(leaf(b"another"));
            assert_eq!(growth.finish().as_ref(), Some(&proof), "{old} of {size}");
            assert!(!is_consistent((old, leaf(b"another")), after, &proof));
            assert!(old == 0 || !is_consistent(before, (size, leaf(b"another")), &proof));
            assert!(!is_consistent(before, after, &[&proof[..], &[root]].concat()));
            for spoiled in 0..proof.len() {
                let mut proof = proof.clone();
                proof[spoiled][7] ^= 1;
                assert!(!is_consistent(before, after, &proof));
            }
        }
        assert_eq!(consistency(size + 1, size), None);
    }
}

#[test]
fn what_is_before_a_known_tree_need_not_come() {
    let all = leaves(24);
    for known in 0..=all.len() {
        let before = tree_of(&all[..known]);
        let rest = |ranges| {
            let mut roots = Roots::new(ranges, &before)?;
            all[known..].iter().for_each(|leaf| roots.push(*leaf));
            roots.finish()
        };
        for index in 0..24 {
            let path = inclusion(index, 24).unwrap();
            // Of an older one at least its sibling would have to come.
            let expected = prove(path.clone(), &all);
            let had = rest(path);
            assert!(had.is_none() || had == Some(expected), "{known} {index}");
            assert!(index < known as u64 || rest(inclusion(index, 24).unwrap()).is_some(), "{known} {index}");
        }
        for old in 0..=24 {
            let path = consistency(old, 24).unwrap();
            let expected = prove(path.clone(), &all);
            let had = rest(path);
            assert!(had.is_none() || had == Some(expected), "{known} {old}");
            assert!(old < known as u64 || had.is_some(), "{known} {old}");
        }
    }
}

#[test]
fn a_proof_needs_all_of_its_leaves() {
    let mut roots = Roots::new(inclusion(0, 4).unwrap(), &Tree::default()).unwrap();
    leaves(3).into_iter().for_each(|leaf| roots.push(leaf));
    assert_eq!(roots.finish(), None);
    let mut growth = Growth::new(&tree_of(&leaves(3)), 7).unwrap();
    leaves(6).drain(3..).for_each(|leaf| growth.push(leaf));
    assert!(!growth.is_done());
    assert_eq!(growth.finish(), None);
    assert!(Growth::new(&tree_of(&leaves(3)), 2).is_none());
}

proptest! {
    #[test]
    fn proofs_of_larger_trees_hold(size in 1..3000u64, a in 0..3000u64, b in 0..3000u64) {
        let all = leaves(size);
        let (index, old) = (a % size, b % (size + 1));
        let root = tree_of(&all).root();
        let proof = prove(inclusion(index, size).unwrap(), &all);
        prop_assert_eq!(root_with(all[index as usize], index, size, &proof), Some(root));
        let before = tree_of(&all[..old as usize]).root();
        let proof = prove(consistency(old, size).unwrap(), &all);
        prop_assert!(is_consistent((old, before), (size, root), &proof));
    }

    #[test]
    fn a_tree_stays_small(size in 1..5000u64) {
        prop_assert_eq!(tree_of(&leaves(size)).peaks().len(), size.count_ones() as usize);
    }
}
