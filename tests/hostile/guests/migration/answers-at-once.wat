;; A translation that cannot fail, and is told no version.
;; kind: change-source
;; call: migrate
;; wit: migrate: func(config: json, from-version: string, old: list<u8>) -> result<list<u8>, plugin-error>; => migrate: func(config: json, old: list<u8>) -> list<u8>;
;; expect: refused expected func(config: json, from-version: string, old: list<u8>) -> result<list<u8>, plugin-error>, found func(config: string, old: list<u8>) -> list<u8>
(func (export "migration#migrate") (param i32 i32 i32 i32) (result i32) (call $done))
