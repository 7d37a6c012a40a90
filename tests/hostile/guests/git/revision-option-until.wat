;; The same where the newest is named.
;; kind: change-source
;; grants: git = ["*"]
;; expect: ends the name of a revision
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $commits (text "https://git.example.org/a") (text "main") (text "-c")))
