package plain

const N = 1
