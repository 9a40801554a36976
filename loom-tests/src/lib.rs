//! Models of the rings under loom. There is nothing here: see `tests/models`, and `README.md` for
//! how to run them.
