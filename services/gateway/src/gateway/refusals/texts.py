"""What a refusal says to people, in the account's language. `str.format` fields: see `refusals`."""

from typing import Final, Literal

from gateway.admission.estimate import Reason

Language = Literal["vi", "ko", "en"]

REFUSALS: Final[dict[Language, dict[Reason, str]]] = {
    "en": {
        Reason.BUDGET_EXCEEDED: (
            "The budget “{budget}” of {account} cannot carry this request: {remaining} of {limit} is left. {advice}"
        ),
        Reason.INSUFFICIENT_BALANCE: (
            "The balance “{budget}” of {account} is too low for this request: {remaining} is left. "
            "Top up the balance and send the request again."
        ),
        Reason.QUOTA_EXCEEDED: (
            "The quota “{budget}” of {account} is used up: {remaining} of {limit} is left. {advice}"
        ),
    },
    "vi": {
        Reason.BUDGET_EXCEEDED: (
            "Ngân sách “{budget}” của {account} không đủ cho yêu cầu này: còn {remaining} trên {limit}. {advice}"
        ),
        Reason.INSUFFICIENT_BALANCE: (
            "Số dư “{budget}” của {account} không đủ cho yêu cầu này: còn {remaining}. "
            "Vui lòng nạp thêm tiền rồi gửi lại."
        ),
        Reason.QUOTA_EXCEEDED: "Hạn mức “{budget}” của {account} đã hết: còn {remaining} trên {limit}. {advice}",
    },
    "ko": {
        Reason.BUDGET_EXCEEDED: (
            "{account}의 예산 “{budget}”이(가) 이 요청에 부족합니다: {limit} 중 {remaining} 남음. {advice}"
        ),
        Reason.INSUFFICIENT_BALANCE: (
            "{account}의 잔액 “{budget}”이(가) 이 요청에 부족합니다: {remaining} 남음. "
            "잔액을 충전한 뒤 다시 보내 주세요."
        ),
        Reason.QUOTA_EXCEEDED: (
            "{account}의 할당량 “{budget}”을(를) 모두 사용했습니다: {limit} 중 {remaining} 남음. {advice}"
        ),
    },
}

WAIT: Final[dict[Language, str]] = {
    "en": "Wait until {resets_at}, upgrade the plan or ask for a higher limit.",
    "vi": "Vui lòng đợi đến {resets_at}, nâng cấp gói hoặc yêu cầu tăng hạn mức.",
    "ko": "{resets_at}까지 기다리거나, 요금제를 올리거나 한도 상향을 요청해 주세요.",
}

RAISE: Final[dict[Language, str]] = {
    "en": "Upgrade the plan or ask for a higher limit.",
    "vi": "Vui lòng nâng cấp gói hoặc yêu cầu tăng hạn mức.",
    "ko": "요금제를 올리거나 한도 상향을 요청해 주세요.",
}

NEEDS: Final[dict[Language, str]] = {
    "en": " It needs {required}; with a lower `max_tokens` or less to read it needs less.",
    "vi": " Yêu cầu này cần {required}; giảm `max_tokens` hoặc rút ngắn nội dung thì cần ít hơn.",
    "ko": " 이 요청에는 {required}이(가) 필요합니다. `max_tokens`를 낮추거나 내용을 줄이면 더 적게 필요합니다.",
}
