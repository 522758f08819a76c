mod contract;
mod load;
mod race;
mod support;
