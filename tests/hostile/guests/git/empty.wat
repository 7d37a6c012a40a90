;; No repository.
;; kind: change-source
;; grants: git = ["*"]
;; expect: ends it is empty
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $fetch (text "")))
