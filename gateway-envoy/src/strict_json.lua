-- Refuses REST requests that the transcoder would let pass or could not explain:
-- unknown fields, fields given twice, values of the wrong type or out of range.
--
-- The generator puts two tables before this text:
--   messages[name][field] = { kind = …, list = true?, message = name?, values = {…}? }
--   calls[path] = { body = <a field>?, query = { name = <a field> } }
-- Nothing is decoded or kept: the body is read once, from left to right, and
-- goes on unchanged. A refusal is told to Envoy's local reply mappers by two
-- request headers, so that the form of the answer is written in one place.

local MAX_DEPTH = 32
local MAX_TOLD = 200

-- The largest magnitudes, below and above zero, as digits: a Lua number holds
-- only 53 bits of them.
local INTEGERS = {
  int32 = { negative = "2147483648", positive = "2147483647", text = "a 32-bit integer" },
  int64 = { negative = "9223372036854775808", positive = "9223372036854775807", text = "a 64-bit integer" },
  uint32 = { negative = "0", positive = "4294967295", text = "an unsigned 32-bit integer" },
  uint64 = { negative = "0", positive = "18446744073709551615", text = "an unsigned 64-bit integer" },
}

local function refuse(field, description)
  error({ field = field, description = description }, 0)
end

local function malformed(field, position)
  refuse(field, "is not valid JSON at byte " .. position)
end

local function below(path, name)
  return path == "" and name or path .. "." .. name
end

local function is_integer(text, bounds)
  local sign, digits = text:match("^(-?)(%d+)$")
  if not digits then return false end
  digits = digits:match("^0*(%d+)$")
  local limit = sign == "-" and bounds.negative or bounds.positive
  return #digits < #limit or (#digits == #limit and digits <= limit)
end

local MONTHS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_day(year, month, day)
  local last = MONTHS[month]
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then last = 29 end
  return year >= 1 and last ~= nil and day >= 1 and day <= last
end

-- Whether text is an instant by RFC 3339, to the nanosecond at most.
local function is_instant(text)
  local year, month, day, hour, minute, second, rest =
    text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)(.*)$")
  if not year or not is_day(tonumber(year), tonumber(month), tonumber(day)) then return false end
  if hour > "23" or minute > "59" or second > "59" then return false end
  local fraction, after = rest:match("^%.(%d+)(.*)$")
  if fraction and #fraction > 9 then return false end
  local offset = after or rest
  if offset == "Z" then return true end
  local hours, minutes = offset:match("^[+-](%d%d):(%d%d)$")
  return hours ~= nil and hours <= "23" and minutes <= "59"
end

-- Checks a value that is no object and no list. `quoted` says whether JSON had
-- it in quotes; the query, which has none, passes nil.
local function check_scalar(path, field, text, quoted)
  local kind = field.kind
  local bounds = INTEGERS[kind]
  if bounds then
    if not is_integer(text, bounds) then refuse(path, "must be " .. bounds.text) end
  elseif kind == "string" then
    if quoted == false then refuse(path, "must be a string") end
  elseif kind == "instant" then
    -- Escapes are rare here; what they stand for is for the transcoder to see.
    local is_escaped = quoted and text:find("\\", 1, true)
    if quoted == false or (not is_escaped and not is_instant(text)) then
      refuse(path, "must be an instant by RFC 3339, such as 2026-01-31T12:00:00Z")
    end
  elseif kind == "bool" then
    if quoted or (text ~= "true" and text ~= "false") then refuse(path, "must be true or false") end
  elseif kind == "enum" then
    local is_number = not quoted and is_integer(text, INTEGERS.int32)
    if not is_number and (quoted == false or not field.values[text]) then
      refuse(path, "must be a name of its enum")
    end
  elseif kind == "message" then
    refuse(path, "must be an object")
  end
end

local function skip_space(text, position)
  return text:find("[^ \t\r\n]", position) or #text + 1
end

local ESCAPED = {}
for character in ('"\\/bfnrt'):gmatch(".") do ESCAPED[character:byte()] = true end

-- The position after the character beyond ASCII that begins with `first`, if
-- it is UTF-8. The second byte's bounds rule out other ways to write the same
-- character, surrogates, and what lies beyond Unicode.
local function after_character(text, position, first)
  local low, high = 128, 191
  if first == 224 then low = 160
  elseif first == 237 then high = 159
  elseif first == 240 then low = 144
  elseif first == 244 then high = 143
  end
  local last = position + 1
  if first >= 240 then last = position + 3 elseif first >= 224 then last = position + 2 end
  if first < 194 or first > 244 then return nil end
  for index = position + 1, last do
    local byte = text:byte(index)
    if not byte or byte < low or byte > high then return nil end
    low, high = 128, 191
  end
  return last + 1
end

-- The position after the escape whose backslash is at `position`. Halves of a
-- surrogate pair come together or not at all.
local function after_escape(text, position)
  if ESCAPED[text:byte(position + 1)] then return position + 2 end
  local digits, after_digits = text:match("^u(%x%x%x%x)()", position + 1)
  if not digits or digits:find("^[dD][c-fC-F]") then return nil end
  if not digits:find("^[dD][89abAB]") then return after_digits end
  return text:match("^\\u[dD][c-fC-F]%x%x()", after_digits)
end

-- The position after the string that starts at `position`. Goes byte by byte,
-- which is compiled: a body of the largest size must not keep a worker busy.
local function after_string(text, position, path)
  local current = position + 1
  while true do
    local byte = text:byte(current)
    local after
    if byte == 34 then return current + 1 end
    if byte == 92 then
      after = after_escape(text, current)
    elseif byte and byte >= 128 then
      after = after_character(text, current, byte)
    elseif byte and byte >= 32 then
      after = current + 1
    end
    if not after then malformed(path, current) end
    current = after
  end
end

local check_value

local function check_object(text, position, path, fields, depth)
  local seen = {}
  position = skip_space(text, position + 1)
  if text:byte(position) == 125 then return position + 1 end
  while true do
    if text:byte(position) ~= 34 then malformed(path, position) end
    local after = after_string(text, position, path)
    local name = text:sub(position + 1, after - 2)
    local field = fields == nil and { kind = "any" } or fields[name]
    local field_path = below(path, name)
    if not field then refuse(field_path, "is not a field of this request") end
    local identity = field.name or name
    if seen[identity] then refuse(field_path, "is given twice") end
    seen[identity] = true
    position = skip_space(text, after)
    if text:byte(position) ~= 58 then malformed(field_path, position) end
    position = check_value(text, position + 1, field_path, field, field.list, depth)
    position = skip_space(text, position)
    local separator = text:byte(position)
    if separator == 125 then return position + 1 end
    if separator ~= 44 then malformed(path, position) end
    position = skip_space(text, position + 1)
  end
end

local function check_list(text, position, path, field, depth)
  position = skip_space(text, position + 1)
  if text:byte(position) == 93 then return position + 1 end
  local index = 0
  while true do
    local item_path = path .. "[" .. index .. "]"
    position = check_value(text, position, item_path, field, field.kind == "any", depth)
    position = skip_space(text, position)
    local separator = text:byte(position)
    if separator == 93 then return position + 1 end
    if separator ~= 44 then malformed(path, position) end
    position = position + 1
    index = index + 1
  end
end

-- Checks the value at or after `position` and returns the position after it.
-- `list` says whether a list of the field's kind is wanted instead of one.
check_value = function(text, position, path, field, list, depth)
  position = skip_space(text, position)
  if depth > MAX_DEPTH then refuse(path, "is nested too deep") end
  local first = text:byte(position)
  local is_any = field.kind == "any"
  if first == 123 then -- {
    if list and not is_any then refuse(path, "must be a list") end
    if field.kind ~= "message" and not is_any then check_scalar(path, field, "{", false) end
    return check_object(text, position, path, field.message and messages[field.message], depth + 1)
  elseif first == 91 then -- [
    if not list and not is_any then refuse(path, "must not be a list") end
    return check_list(text, position, path, field, depth + 1)
  elseif first == 34 then -- "
    local after = after_string(text, position, path)
    if list and not is_any then refuse(path, "must be a list") end
    check_scalar(path, field, text:sub(position + 1, after - 2), true)
    return after
  end
  local word = text:match("^[%w+.-]+", position)
  if not word then malformed(path, position) end
  if word == "null" then return position + 4 end
  local is_number = word:find("^-?%d") and not word:find("^-?0%d") and tonumber(word) and not word:find("^-?0[xX]")
  if not is_number and word ~= "true" and word ~= "false" then malformed(path, position) end
  if list and not is_any then refuse(path, "must be a list") end
  check_scalar(path, field, word, false)
  return position + #word
end

local function check_body(text, field)
  local after = check_value(text, 1, "", field, field.list, 0)
  if skip_space(text, after) <= #text then malformed("", after) end
end

local function decoded(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function check_query(path, fields)
  local query = path:match("%?(.*)$")
  if not query then return end
  local seen = {}
  for pair in query:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    name = decoded(name)
    local field = fields[name]
    if not field then refuse(name, "is not a parameter of this request") end
    local identity = field.name or name
    if seen[identity] and not field.list then refuse(name, "is given twice") end
    seen[identity] = true
    check_scalar(name, field, decoded(value), nil)
  end
end

-- Text as a header may carry it.
local function tellable(text)
  return (text:sub(1, MAX_TOLD):gsub("[^\32-\126]", "?"))
end

function envoy_on_request(handle)
  local call = calls[handle:metadata():get("call")]
  local passed, refusal = pcall(check_query, handle:headers():get(":path"), call.query)
  if passed and call.body then
    local body = handle:body()
    if body and body:length() > 0 then
      passed, refusal = pcall(check_body, body:getBytes(0, body:length()), call.body)
    end
  end
  if passed then return end
  if type(refusal) ~= "table" then error(refusal) end
  local field = tellable(refusal.field)
  -- Taken anew: what was taken before the body arrived is no longer valid.
  local headers = handle:headers()
  headers:replace("x-bursar-refused-field", field)
  headers:replace("x-bursar-refused-because", tellable(refusal.description))
  local subject = field == "" and "the body" or field
  handle:respond({ [":status"] = "400" }, subject .. " " .. tellable(refusal.description))
end
