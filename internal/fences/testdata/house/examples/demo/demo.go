package demo

const N = 1
