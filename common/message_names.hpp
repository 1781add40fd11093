// The "type" of each message on the wire. Private to common/message*.cpp.
#pragma once

#include <cstring>
#include <string_view>
#include <type_traits>
#include <variant>

#include "common/message.hpp"

namespace kv::message {

template <class Message>
inline constexpr std::string_view type_name = {};
template <>
inline constexpr std::string_view type_name<Init> = "INIT";
template <class Text>
inline constexpr std::string_view type_name<PutOf<Text>> = "PUT";
template <class Text>
inline constexpr std::string_view type_name<DeleteOf<Text>> = "DELETE";
template <>
inline constexpr std::string_view type_name<Get> = "GET";
template <>
inline constexpr std::string_view type_name<List> = "LIST";
template <class Text>
inline constexpr std::string_view type_name<TxnOf<Text>> = "TXN";
template <>
inline constexpr std::string_view type_name<Watch> = "WATCH";
template <>
inline constexpr std::string_view type_name<Cancel> = "CANCEL";
template <>
inline constexpr std::string_view type_name<ListOk> = "LIST_OK";
template <>
inline constexpr std::string_view type_name<TxnOk> = "TXN_OK";
template <>
inline constexpr std::string_view type_name<WatchOk> = "WATCH_OK";
template <>
inline constexpr std::string_view type_name<Event> = "EVENT";
template <>
inline constexpr std::string_view type_name<SharedEvent> = "EVENT";
template <>
inline constexpr std::string_view type_name<CancelOk> = "CANCEL_OK";
template <>
inline constexpr std::string_view type_name<Status> = "STATUS";
template <>
inline constexpr std::string_view type_name<Backup> = "BACKUP";
template <>
inline constexpr std::string_view type_name<BackupOk> = "BACKUP_OK";
template <>
inline constexpr std::string_view type_name<Snapshot> = "SNAPSHOT";
template <>
inline constexpr std::string_view type_name<SnapshotOk> = "SNAPSHOT_OK";
template <>
inline constexpr std::string_view type_name<InitOk> = "INIT_OK";
template <>
inline constexpr std::string_view type_name<PutOk> = "PUT_OK";
template <>
inline constexpr std::string_view type_name<DeleteOk> = "DELETE_OK";
template <>
inline constexpr std::string_view type_name<GetOk> = "GET_OK";
template <>
inline constexpr std::string_view type_name<WaitForResponse> = "WAIT_FOR_RESPONSE";
template <>
inline constexpr std::string_view type_name<StatusOk> = "STATUS_OK";
template <>
inline constexpr std::string_view type_name<Error> = "ERROR";
template <>
inline constexpr std::string_view type_name<PeerInit> = "INIT";
template <>
inline constexpr std::string_view type_name<PeerInitOk> = "INIT_OK";
template <>
inline constexpr std::string_view type_name<Vote> = "VOTE";
template <>
inline constexpr std::string_view type_name<VoteOk> = "VOTE_OK";
template <class Text>
inline constexpr std::string_view type_name<ReplicationOf<Text>> = "REPLICATION";
template <>
inline constexpr std::string_view type_name<ReplicationOk> = "REPLICATION_OK";
template <>
inline constexpr std::string_view type_name<TimeoutNow> = "TIMEOUT_NOW";
template <>
inline constexpr std::string_view type_name<Forward> = "FORWARD";
template <>
inline constexpr std::string_view type_name<ForwardOk> = "FORWARD_OK";
template <>
inline constexpr std::string_view type_name<Noop> = "NOOP";
template <>
inline constexpr std::string_view type_name<Members> = "MEMBERS";
template <>
inline constexpr std::string_view type_name<ReadIndex> = "READ_INDEX";
template <>
inline constexpr std::string_view type_name<ReadIndexOk> = "READ_INDEX_OK";

template <class... T>
std::string_view type_name_of(const std::variant<T...>& message) {
  return std::visit([]<class M>(const M&) { return type_name<M>; }, message);
}

// Makes the variant hold an empty message of that type; false: none of its alternatives has that name.
template <class... T>
bool emplace_named(std::string_view type, std::variant<T...>& message) {
  const auto try_one = [&]<class M>(std::type_identity<M>) {
    // Of a length that is known here, which makes it a comparison of numbers.
    constexpr std::string_view name = type_name<M>;
    if (type.size() != name.size() || std::memcmp(type.data(), name.data(), name.size()) != 0) return false;
    message.template emplace<M>();
    return true;
  };
  return (try_one(std::type_identity<T>{}) || ...);
}

}  // namespace kv::message
