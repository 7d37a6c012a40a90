;; Hands in half of a surrogate pair, written as UTF-8 must not be.
;; kind: change-source
;; expect: ends invalid utf-8
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://\ed\a0\80.example.org/")))
