//! One suite for every backend: what [`jwsd::backend::KeyStore`] promises, asked of real tokens and services.
//!
//! A backend joins with one [`subjects::Subject`] and one line below. Where it may differ from the others is a field
//! there; the checks know no backend by name.
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "backend_conformance/checks.rs"]
mod checks;
#[path = "backend_conformance/epochs.rs"]
mod epochs;
#[path = "common/fake_kms.rs"]
mod fake_kms;
#[path = "pkcs11_worker/fixture.rs"]
mod fixture;
#[path = "common/kms.rs"]
mod kms;
#[path = "backend_conformance/subjects.rs"]
mod subjects;

/// Every check as a test of its own, for one backend.
macro_rules! conforms {
    ($name:ident, $subject:expr) => {
        conforms! { $name, $subject;
            every_algorithm_signs_what_verifies
            what_it_lacks_it_refuses
            a_key_opens_only_as_what_it_is
            a_key_opens_by_name_and_as_a_copy
            an_id_is_used_once
            every_key_is_listed
            only_signatures_count
            many_at_once_all_get_their_own
            too_late_and_too_long_never_reach_the_key
            after_the_end_nothing_signs
            what_was_made_is_found_and_nothing_else
            exactly_one_key_is_destroyed
            another_key_is_not_destroyed
            where_no_key_may_be_made_none_is
            who_is_erased_is_so_with_a_key_of_it
        }
    };
    ($name:ident, $subject:expr; $($check:ident)+) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    if let Some(running) = $subject.start().await {
                        #[allow(unused_imports, reason = "each check is in one of them")]
                        use crate::{checks::*, epochs::*};
                        $check(&$subject, &running).await;
                    }
                }
            )+
        }
    };
}

conforms! { softhsm, crate::subjects::SOFTHSM }
conforms! { kryoptic, crate::subjects::KRYOPTIC }
conforms! { aws_kms, crate::subjects::KMS }
conforms! { kms_emulator, crate::subjects::KMS_EMULATOR }
