//! Against the definitions of RFC 6962, written as they stand there: slow, and without a frontier or full subtrees.

#![allow(clippy::cast_possible_truncation, reason = "a few hundred records")]

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// As long as records of the journal, and no two alike.
fn payload(record: u64) -> Vec<u8> {
    record.to_be_bytes().repeat(20)
}

fn leaves(size: u64) -> Vec<Hash> {
    (1..=size).map(|record| leaf(record, &payload(record))).collect()
}

/// The largest power of two below `size`.
fn full(size: usize) -> usize {
    (0..).map(|bit| 1 << bit).take_while(|power| *power < size).last().unwrap()
}

fn naive_top(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(full(leaves.len()));
            node(&naive_top(left), &naive_top(right))
        }
    }
}

fn naive_head(leaves: &[Hash]) -> Head {
    let size = leaves.len() as u64;
    let top = (!leaves.is_empty()).then(|| naive_top(leaves));
    Head { size, root: root(size, top.as_ref()) }
}

/// PATH(m, D[n]) of RFC 6962.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(full(leaves.len()));
    let (mut path, beside) = match index.checked_sub(left.len()) {
        None => (naive_path(index, left), right),
        Some(index) => (naive_path(index, right), left),
    };
    path.push(naive_top(beside));
    path
}

/// SUBPROOF(m, D[n], false) of RFC 6962: a proof here begins with the older tree's edge always.
fn naive_extension(older: usize, leaves: &[Hash]) -> Vec<Hash> {
    if older == leaves.len() {
        return vec![naive_top(leaves)];
    }
    let (left, right) = leaves.split_at(full(leaves.len()));
    let (mut path, beside) = match older.checked_sub(left.len()) {
        None | Some(0) => (naive_extension(older, left), right),
        Some(older) => (naive_extension(older, right), left),
    };
    path.push(naive_top(beside));
    path
}

fn frontier(leaves: &[Hash]) -> (Frontier, Vec<Node>) {
    let (mut frontier, mut nodes) = (Frontier::default(), Vec::new());
    leaves.iter().for_each(|leaf| frontier.append(*leaf, |node| nodes.push(node)));
    (frontier, nodes)
}

fn naive_subtree(leaves: &[Hash], span: Span) -> Hash {
    naive_top(&leaves[span.first() as usize - 1..span.last() as usize])
}

fn inclusion(record: u64, leaves: &[Hash]) -> Inclusion {
    let Ok(proof) =
        Inclusion::of::<Infallible>(record, leaves.len() as u64, &mut |span| Ok(naive_subtree(leaves, span)));
    proof
}

fn consistency(older: u64, leaves: &[Hash]) -> Consistency {
    let Ok(proof) =
        Consistency::of::<Infallible>(older, leaves.len() as u64, &mut |span| Ok(naive_subtree(leaves, span)));
    proof
}

/// Every hash with one of its bits flipped, a bit of each byte in turn.
fn bent(path: &[Hash]) -> impl Iterator<Item = Vec<Hash>> {
    (0..path.len() * 32).map(|at| {
        let mut path = path.to_vec();
        path[at / 32][at % 32] ^= 1 << (at % 8);
        path
    })
}

/// The same path with one hash fewer at either end, one more, and each one doubled.
fn of_another_length(path: &[Hash]) -> Vec<Vec<Hash>> {
    let mut others = vec![[path, &[[7; 32]]].concat(), [&[[7; 32]], path].concat()];
    if let [_, rest @ ..] = path {
        others.extend([rest.to_vec(), path[..path.len() - 1].to_vec()]);
    }
    others.extend((0..path.len()).map(|at| [&path[..=at], &path[at..]].concat()));
    others
}

#[test]
fn each_hash_has_a_domain_of_its_own() {
    assert_eq!(leaf(7, b"record"), blake3::derive_key(LEAF, b"\0\0\0\0\0\0\0\x07record"));
    let [left, right] = [[1; 32], [2; 32]];
    assert_eq!(node(&left, &right), blake3::derive_key(NODE, [left, right].as_flattened()));
    assert_eq!(root(3, Some(&left)), blake3::derive_key(ROOT, &[&[0, 0, 0, 0, 0, 0, 0, 3], &left[..]].concat()));
    assert_eq!(Frontier::default().head().root, blake3::derive_key(ROOT, &[0; 8]));
    assert_eq!(leaf_part(&leaf(7, b"record")), leaf(7, b"record")[..8]);
}

#[test]
fn every_root_and_every_stored_node_is_the_definitions() {
    let all = leaves(2 * TILE_RECORDS + 70);
    let mut growing = Frontier::default();
    let mut nodes = Vec::new();
    for size in 0..=all.len() {
        assert_eq!(growing.head(), naive_head(&all[..size]), "{size} records");
        let stored = nodes.len();
        if let Some(leaf) = all.get(size) {
            growing.append(*leaf, |node| nodes.push(node));
        }
        for node in &nodes[stored..] {
            assert_eq!(node.span.last(), size as u64 + 1, "stored with the record that completes it");
            assert_eq!(node.hash, naive_subtree(&all, node.span), "{:?}", node.span);
        }
    }
    let spans: Vec<_> = nodes.iter().map(|node| (node.span.level, node.span.index)).collect();
    assert_eq!(spans, [(8, 0), (8, 1), (9, 0)]);
    let wrong: Vec<_> = growing.nodes().filter(|node| node.hash != naive_subtree(&all, node.span)).collect();
    assert_eq!(wrong, []);
    let Ok(gathered) = Frontier::of::<Infallible>(growing.size(), &mut |span| Ok(naive_subtree(&all, span)));
    assert_eq!(gathered, growing);
}

#[test]
fn proofs_hold_in_every_small_tree_and_under_no_other_record_or_size() {
    let all = leaves(20);
    let heads: Vec<_> = (0..=20).map(|size| naive_head(&all[..size])).collect();
    for head in &heads {
        let size = head.size as usize;
        for record in 1..=head.size {
            let proof = inclusion(record, &all[..size]);
            assert_eq!(proof.path, naive_path(record as usize - 1, &all[..size]), "record {record} in {size}");
            for (asked, head) in (0..=21).flat_map(|asked| heads.iter().map(move |head| (asked, head))) {
                let is_right = asked == record && head.size as usize == size;
                for text in [record, asked] {
                    let proves = proof.proves(asked, &payload(text), head);
                    assert_eq!(proves, is_right, "record {record} in {size}, asked for {asked} in {}", head.size);
                }
            }
        }
        for older in &heads[..=size] {
            let proof = consistency(older.size, &all[..size]);
            if older.size > 0 {
                assert_eq!(proof.path, naive_extension(older.size as usize, &all[..size]), "{} in {size}", older.size);
            }
            for (from, to) in heads.iter().flat_map(|from| heads.iter().map(move |to| (from, to))) {
                // Every tree extends the empty one, and the empty proof shows it.
                let is_right = if older.size == 0 { from.size == 0 } else { (from, to) == (older, head) };
                assert_eq!(proof.proves(from, to), is_right, "{} in {size}, asked for {from:?} in {to:?}", older.size);
            }
        }
    }
}

#[test]
fn a_size_is_part_of_its_root() {
    // The path of the first of three records has the shape of the first of four.
    let all = leaves(3);
    let (proof, head) = (inclusion(1, &all), naive_head(&all));
    assert!(proof.proves(1, &payload(1), &head));
    assert!(!proof.proves(1, &payload(1), &Head { size: 4, ..head }));
    let proof = consistency(2, &all);
    assert!(proof.proves(&naive_head(&all[..2]), &head));
    assert!(!proof.proves(&naive_head(&all[..2]), &Head { size: 4, ..head }));
}

#[test]
fn a_frontiers_bytes_are_read_again_and_no_others() {
    for size in [0, 1, 2, 3, 255, 256, 257, 300] {
        let (frontier, _) = frontier(&leaves(size));
        let bytes = frontier.encode();
        assert_eq!(Frontier::decode(&bytes).as_ref(), Some(&frontier));
        for at in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[at / 8] ^= 1 << (at % 8);
            assert_eq!(Frontier::decode(&bent), None, "bit {at} of {size}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Frontier::decode(&bytes[..length]), None, "{length} bytes of {size}");
        }
        assert_eq!(Frontier::decode(&[&bytes[..], &[0; 32]].concat()), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_proof_fails_with_any_bit_flipped((size, record, older) in (1_u64..700).prop_flat_map(|size| (Just(size), 1..=size, 1..=size))) {
        let all = leaves(size);
        let (head, before) = (naive_head(&all), naive_head(&all[..older as usize]));
        prop_assert_eq!(frontier(&all).0.head(), head);

        let proof = inclusion(record, &all);
        prop_assert_eq!(&proof.path, &naive_path(record as usize - 1, &all));
        prop_assert!(proof.proves(record, &payload(record), &head));
        for path in bent(&proof.path).chain(of_another_length(&proof.path)) {
            let bent = Inclusion { path };
            prop_assert!(!bent.proves(record, &payload(record), &head));
        }
        let mut altered = payload(record);
        altered[17] ^= 1;
        prop_assert!(!proof.proves(record, &altered, &head));

        let extension = consistency(older, &all);
        prop_assert_eq!(&extension.path, &naive_extension(older as usize, &all));
        prop_assert!(extension.proves(&before, &head));
        for path in bent(&extension.path).chain(of_another_length(&extension.path)) {
            let bent = Consistency { path };
            prop_assert!(!bent.proves(&before, &head));
        }
        for at in 0..32 {
            let bend = |head: &Head| {
                let mut head = *head;
                head.root[at] ^= 1 << (at % 8);
                head
            };
            prop_assert!(!proof.proves(record, &payload(record), &bend(&head)));
            prop_assert!(!extension.proves(&bend(&before), &head));
            prop_assert!(!extension.proves(&before, &bend(&head)));
        }
        for bit in 0..64 {
            let (record, older) = (record ^ 1 << bit, Head { size: before.size ^ 1 << bit, ..before });
            let other = Head { size: head.size ^ 1 << bit, ..head };
            prop_assert!(!proof.proves(record, &payload(record), &head));
            prop_assert!(!proof.proves(record, &payload(record ^ 1 << bit), &head));
            prop_assert!(!proof.proves(record ^ 1 << bit, &payload(record ^ 1 << bit), &other));
            prop_assert!(!extension.proves(&older, &head));
            prop_assert!(!extension.proves(&before, &other));
        }
    }
}
