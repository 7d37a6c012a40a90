;; The same without a space.
;; kind: change-source
;; grants: git = ["*"]
;; expect: ends names a remote helper
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $fetch (text "ext::id")))
