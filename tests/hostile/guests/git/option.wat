;; A repository that is an option of git.
;; kind: change-source
;; grants: git = ["*"]
;; expect: ends begins with `-`
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $fetch (text "--upload-pack=touch")))
