//! How the crates before this one fail, by the numbers of the list that it was built against, and what happens here.
