//! Each family of disagreement from end to end, with the stand-in over HTTP as the ERP.

use gatehouse_tests::contract::standin::StandIn;

gatehouse_tests::families_end_to_end!(StandIn::with_keys().await);
gatehouse_tests::families_end_to_end!(StandIn::with_keys().await;
    another_address,
    refused_in_part_and_credited,
    too_warm_on_the_way,
    too_warm_on_the_way_and_credited,
);
