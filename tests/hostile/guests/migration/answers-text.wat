;; A translation that answers with a text where bytes are expected.
;; kind: scheduler
;; call: migrate
;; wit: old: list<u8>) -> result<list<u8>, plugin-error>; => old: list<u8>) -> result<string, plugin-error>;
;; expect: refused `migration.migrate` has another signature
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32) (call $done))
