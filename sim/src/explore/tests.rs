//! The smallest worlds, all of them, with their exact numbers of states: a change in behaviour shows.
