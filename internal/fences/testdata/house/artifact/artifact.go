package artifact

const N = 1
