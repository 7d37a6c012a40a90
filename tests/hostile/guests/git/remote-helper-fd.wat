;; A helper that takes over a descriptor of the master.
;; kind: change-source
;; grants: git = ["*"]
;; expect: ends names a remote helper
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $fetch (text "fd::3")))
