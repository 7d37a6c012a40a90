;; A repository that nobody granted, by a path through one that somebody did.
;; kind: change-source
;; grants: git = ["https://git.example.org/team/*"]
;; expect: ends may not use git
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $fetch (text "https://git.example.org/team/../secrets")))
