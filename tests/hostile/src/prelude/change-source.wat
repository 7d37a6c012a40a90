;; Every import of a change source, and answers. `$done` is a poll without changes, `$fail` is `permanent` with a text.

(import "capstan:plugin/log@wit" "write" (func $log.write (param i32 i32 i32)))
(import "capstan:plugin/git@wit" "fetch" (func $git.fetch (param i32 i32 i32)))
(import "capstan:plugin/git@wit" "commits" (func $git.commits (param i32 i32 i32 i32 i32 i32 i32 i32)))
(import "capstan:plugin/http@wit" "fetch" (func $http.fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))

;; Answers lie at 128 (nothing found), 16 (an error of `poll`); what the host answers goes to 256.
(func $done (result i32) (i32.const 128))
(func $fail (param $text i32) (param $length i32) (result i32)
  (i32.store8 (i32.const 16) (i32.const 1))
  (i32.store8 (i32.const 24) (i32.const 2))
  (i32.store (i32.const 28) (local.get $text))
  (i32.store (i32.const 32) (local.get $length))
  (i32.const 16))

;; Whatever the host answered at 256: an error is passed on, anything else is a good answer.
(func $pass-on (result i32)
  (if (i32.load8_u (i32.const 256))
    (then (return (call $fail (i32.load (i32.const 264)) (i32.load (i32.const 268))))))
  (call $done))

;; One request without a body: method, URL, name and value of a header (none if the name is empty).
(func $request (param $method i32) (param $method-size i32) (param $url i32) (param $url-size i32)
    (param $name i32) (param $name-size i32) (param $value i32) (param $value-size i32) (result i32)
  (i32.store (i32.const 512) (local.get $name))
  (i32.store (i32.const 516) (local.get $name-size))
  (i32.store (i32.const 520) (local.get $value))
  (i32.store (i32.const 524) (local.get $value-size))
  (call $http.fetch (local.get $method) (local.get $method-size) (local.get $url) (local.get $url-size)
    (i32.const 512) (i32.ne (local.get $name-size) (i32.const 0))
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2000) (i32.const 256))
  (call $pass-on))

(func $get (param $url i32) (param $size i32) (result i32)
  (call $request (text "GET") (local.get $url) (local.get $size) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))

(func $fetch (param $url i32) (param $size i32) (result i32)
  (call $git.fetch (local.get $url) (local.get $size) (i32.const 256))
  (call $pass-on))

;; The commits that one name reaches and another does not.
(func $commits (param $url i32) (param $size i32) (param $since i32) (param $since-size i32)
    (param $until i32) (param $until-size i32) (result i32)
  (i32.store (i32.const 512) (local.get $since))
  (i32.store (i32.const 516) (local.get $since-size))
  (call $git.commits (local.get $url) (local.get $size) (i32.const 512) (i32.const 1)
    (local.get $until) (local.get $until-size) (i32.const -1) (i32.const 256))
  (call $pass-on))

(func (export "change-source#check") (param i32 i32) (result i32) (call $done))
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32) (call $done))
