;; A repository with a new line in it.
;; kind: change-source
;; grants: git = ["*"]
;; expect: ends control characters
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $fetch (text "https://git.example.org/a\0ab")))
