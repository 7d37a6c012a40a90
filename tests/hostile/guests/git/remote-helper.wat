;; A URL that has git run a program.
;; kind: change-source
;; grants: git = ["*"]
;; expect: ends the URL of a git repository
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $fetch (text "ext::sh -c touch% /tmp/capstan-hostile-escaped")))
