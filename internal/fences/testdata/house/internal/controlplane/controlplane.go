package controlplane

const N = 1
